# SPDX-License-Identifier: Apache-2.0
from .attribute_fitter import AttributeFitter as AttributeFitter
from .evaluation_report import EvaluationReport as EvaluationReport
from .figures import FigureSaver as FigureSaver
from .model_card import model_card as model_card
from .montage import MontageSaver as MontageSaver
from .picture_series import PictureSeriesSaver as PictureSeriesSaver
from .slice_volumes import SliceVolumeSaver as SliceVolumeSaver
from .source_images import put_into_source as put_into_source
from .source_volumes import SourceVolumeSaver as SourceVolumeSaver
from .tables import EditsTableSaver as EditsTableSaver
from .tables import LatentsTableSaver as LatentsTableSaver
from .typicality import TypicalityFitter as TypicalityFitter
from .volume_figures import VolumeFigureSaver as VolumeFigureSaver
