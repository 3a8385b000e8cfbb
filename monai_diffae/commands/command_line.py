# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from monai_diffae.bundles import BundleConfigs, bundle_folders, check_ids, find_bundle, main_ids, new_bundle, shown_path
from monai_diffae.commands.bundle_run import bundle_words, monai_line, run_here, run_in_processes
from monai_diffae.commands.installed import options_of_installed
from monai_diffae.commands.texts import bundles_text, help_text
from monai_diffae.commands.weights import missing_weights

__all__ = ["main"]

_USAGE = """\
usage: monai-diffae list [BUNDLE ...]
       monai-diffae VERB BUNDLE [--ID VALUE ...] [--with NAME ...] [--processes N] [--dry_run]
       monai-diffae VERB [BUNDLE] --help
       monai-diffae new-bundle NAME --like BUNDLE [--output_dir DIR]

  VERB             a workflow of the bundle: reconstruct, edit, sample, train, ...; list shows them all
  BUNDLE           a name that list shows, or a folder
  --ID VALUE       sets an id of the configuration; VERB --help shows the main ones
  --with NAME      adds a configuration to those of the workflow: one that list shows, or a YAML file; can be repeated
  --processes N    shares the work between N processes, each with a GPU where there are some
  --dry_run        prints the line for monai.bundle and does not run it
  new-bundle       writes the folder of a bundle for other data, without weights, in DIR or here"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the package's docstring.

    Args:
        arguments: words behind ``monai-diffae``; those of this process by default.

    Returns:
        Exit status: 0, 2 for a command that cannot be understood, or that of the processes that were started.
    """
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        if verb in ("-h", "--help"):
            print(_USAGE)
        elif verb == "list":
            print(bundles_text([find_bundle(name) for name in rest] or bundle_folders().values()), flush=True)
        elif verb == "new-bundle":
            _new_bundle(rest)
        elif "-h" in rest or "--help" in rest:
            print(_help(verb, [word for word in rest if word not in ("-h", "--help")]), flush=True)
        else:
            return _run(verb, _Words.read(rest))
    except (ValueError, FileExistsError) as error:
        print(f"monai-diffae: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # "| head" has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


@dataclass
class _Words:
    """The words behind a verb."""

    bundle: str
    additions: list[str] = field(default_factory=list)
    processes: int = 1
    dry_run: bool = False
    ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, words: Sequence[str]) -> _Words:
        if not words or words[0].startswith("-"):
            raise ValueError(f"expected a bundle, {' or '.join(bundle_folders()) or 'a folder'}, behind the verb.")
        found = cls(words[0])
        rest = list(words[1:])
        while rest:
            word = rest.pop(0)
            if not word.startswith("--") or word == "--":
                raise ValueError(f"expected --ID VALUE, got {word!r}; put a value with blanks in quotes.")
            name, equals, value = word.removeprefix("--").partition("=")
            if name == "dry_run":
                found.dry_run = True
                continue
            if not equals:
                if not rest or rest[0].startswith("--"):
                    raise ValueError(f"--{name} needs a value.")
                value = rest.pop(0)
            if name == "with":
                found.additions.append(value)
            elif name == "processes":
                if not value.isdecimal() or int(value) < 1:
                    raise ValueError(f"--processes should be a number of 1 or more, got {value}.")
                found.processes = int(value)
            elif name in ("bundle_root", "config_file"):
                raise ValueError(f"--{name} is what the bundle, the verb and --with say.")
            else:
                found.ids[name] = value
        return found


def _new_bundle(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("monai-diffae new-bundle", description="Write a bundle for other data.")
    parser.add_argument("name", help="of the new folder")
    parser.add_argument("--like", required=True, help="bundle whose network and recipe are taken over; name or folder")
    parser.add_argument("--output_dir", default=".", help="folder that it is made in")
    folder = shown_path(new_bundle(**vars(parser.parse_args(words))))
    print(f"{folder} is made; train it by: monai-diffae train {folder} --dataset_dir DATA")


def _help(verb: str, rest: Sequence[str]) -> str:
    """Of the bundle that is named, or else of the first that has the workflow."""
    if rest:
        words = _Words.read(rest)
        bundle, additions = BundleConfigs(find_bundle(words.bundle)), words.additions
    else:
        bundles, additions = [BundleConfigs(folder) for folder in bundle_folders().values()], []
        if not bundles:
            raise ValueError("no bundle is here; name the folder of one.")
        bundle = next((bundle for bundle in bundles if verb in bundle.words), bundles[0])
    config = bundle.workflow(verb)
    usage = f"monai-diffae {config.verb} BUNDLE [--ID VALUE ...] [--with NAME ...] [--processes N] [--dry_run]"
    return help_text(usage, config, bundle, main_ids(bundle.files(verb, additions)))


def _run(verb: str, words: _Words) -> int:
    bundle = BundleConfigs(find_bundle(words.bundle))
    files = bundle.files(verb, words.additions, several_processes=words.processes > 1)
    options = options_of_installed(bundle.folder, files, words.ids)
    check_ids(options, files)
    line = bundle_words(bundle.folder, files, options)
    print(monai_line(line, words.processes), flush=True)
    if words.dry_run:
        return 0
    if missing := missing_weights(bundle.folder, files, words.ids):
        raise ValueError(missing)
    if words.processes > 1:
        return run_in_processes(line, words.processes)
    run_here(line)
    return 0
