# SPDX-License-Identifier: Apache-2.0
"""What the workflow ``evaluate`` runs: sections that share a bench, and what they find."""

from .bench import EvaluationBench as EvaluationBench
from .bench import Part as Part
from .classifiers import ClassifierScore as ClassifierScore
from .editing import EditingSection as EditingSection
from .evaluation import Evaluation as Evaluation
from .explanation import ExplanationSection as ExplanationSection
from .findings import Findings as Findings
from .generation import GenerationSection as GenerationSection
from .judging import Judge as Judge
from .reconstruction import ReconstructionSection as ReconstructionSection
from .representation import RepresentationSection as RepresentationSection
