"""Shell completion: scripts for three shells, and the answers that they ask this program for.

A script is a few lines; what may come next is worked out here, from the parser itself, so that
no list of commands is kept twice. A script hands on all words up to the cursor, the last of them
as far as it is typed, and gets one candidate per line, ``word<TAB>about``; ``:files`` alone means
that the shell should offer files.
"""

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

FLAG = "--complete"  # not a command: nobody types it
FILES = ":files"
_PATHS = ("FILE", "DIR", "YAML")  # metavars of what is found on disk
_PIPELINE = "ID"  # that of a pipeline's id
_CUTS = frozenset(":=")  # where bash ends a word, a space aside (COMP_WORDBREAKS)

SCRIPTS = {
    "bash": """\
# cache-server completion bash > /etc/bash_completion.d/cache-server
_cache_server() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
        else
            COMPREPLY+=("${line%%$'\\t'*}")
        fi
    done < <(cache-server --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _cache_server cache-server
""",
    "zsh": """\
#compdef cache-server
# cache-server completion zsh > "${fpath[1]}/_cache-server"
_cache_server() {
    local line
    local -a found about
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        found+=("${line%%$'\\t'*}")
        about+=("${line%%$'\\t'*}  ${line#*$'\\t'}")
    done < <(cache-server --complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    compadd -d about -a found
}
if [[ ${funcstack[1]} == _cache-server ]]; then
    _cache_server
else
    compdef _cache_server cache-server
fi
""",
    "fish": """\
# cache-server completion fish > ~/.config/fish/completions/cache-server.fish
function __cache_server_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (cache-server --complete $words[2..-1] 2>/dev/null)
    if test "$answer" = ":files"
        __fish_complete_path (commandline -ct)
    else
        string join \\n -- $answer
    end
end
complete -c cache-server -f -a "(__cache_server_complete)"
""",
}


class Candidate(NamedTuple):
    """What may stand at the cursor."""

    word: str
    about: str


def answer(
    parser: ArgumentParser,
    words: Sequence[str],
    pipelines: Callable[[Sequence[str]], Iterable[str]],
) -> list[str]:
    """Return the lines that a script gets.

    Args:
        parser: of the whole command line.
        words: after the program's name; the last is what is being typed, maybe empty.
        pipelines: the ids that there are on the node which the words before name; asked only
            where one may stand.
    """
    line = _line(words or [""])
    place = _walk(parser, line.before)
    if place.value is not None and place.value.metavar in _PATHS:
        return [FILES]
    found = _at(place, line.typed, lambda: pipelines(line.before))
    return [
        f"{(line.lead + word).removeprefix(line.cut_off)}\t{about}".rstrip()
        for word, about in found
        if word.startswith(line.typed)
    ]


class _Line(NamedTuple):
    """What has been typed, as the program would get it."""

    before: Sequence[str]  # with the flag of ``--flag=value`` as a word of its own at the end
    typed: str
    lead: str  # what stands before ``typed`` without a space: ``--flag=``, or nothing
    cut_off: str  # the beginning of both that is another word to the shell


def _line(words: Sequence[str]) -> _Line:
    *before, last = _whole(words)
    cut_off = last if _is_cut(words[-1]) else last.removesuffix(words[-1])
    flag, equals, value = last.partition("=")
    if equals and flag.startswith("-"):
        return _Line([*before, flag], value, flag + equals, cut_off)
    return _Line(before, last, "", cut_off)


def _whole(words: Sequence[str]) -> list[str]:
    """Put together what bash has cut: of ``--role=v`` it makes three words, of a URL five."""
    whole: list[str] = []
    for word, previous in zip(words, ["", *words], strict=False):
        if whole and (_is_cut(word) or (_is_cut(previous) and word)):
            whole[-1] += word
        else:
            whole.append(word)
    return whole


def _is_cut(word: str) -> bool:
    """Whether bash has made a word of what stood between others without a space."""
    return bool(word) and set(word) <= _CUTS


class _Place(NamedTuple):
    """Where the cursor is."""

    parser: ArgumentParser  # of the command so far
    value: Action | None  # whose value is being typed
    positionals: int  # values of the command that have been given
    given: frozenset[str]  # flags


def _walk(parser: ArgumentParser, words: Sequence[str]) -> _Place:
    place = _Place(parser, None, 0, frozenset())
    for word in words:
        place = _after(place, word)
    return place


def _after(place: _Place, word: str) -> _Place:
    if place.value is not None:
        return place._replace(value=None)
    if word.startswith("-"):
        flag = place.parser._option_string_actions.get(word)  # noqa: SLF001 - argparse has no other way
        takes_one = flag is not None and flag.nargs is None
        return place._replace(
            value=flag if takes_one else None, given=place.given | {word.partition("=")[0]}
        )
    inner = _commands(place.parser)
    if inner is not None and word in inner.choices:
        return _Place(inner.choices[word], None, 0, frozenset())
    return place._replace(positionals=place.positionals + 1)


def _at(place: _Place, typed: str, pipelines: Callable[[], Iterable[str]]) -> Iterator[Candidate]:
    if place.value is not None:
        yield from _values(place.value, pipelines)
    elif typed.startswith("-"):
        yield from _flags(place)
    elif (inner := _commands(place.parser)) is not None and not place.positionals:
        for each in inner._choices_actions:  # noqa: SLF001 - where argparse keeps the help
            yield Candidate(each.dest, each.help or "")
    else:
        wanted = [a for a in place.parser._actions if not a.option_strings]  # noqa: SLF001
        if inner is None and place.positionals < len(wanted):
            yield from _values(wanted[place.positionals], pipelines)


def _values(action: Action, pipelines: Callable[[], Iterable[str]]) -> Iterator[Candidate]:
    for choice in action.choices or ():
        yield Candidate(str(choice), "")
    if action.metavar == _PIPELINE:
        for each in pipelines():
            yield Candidate(each, "")


def _flags(place: _Place) -> Iterator[Candidate]:
    for action in place.parser._actions:  # noqa: SLF001
        for flag in action.option_strings:
            repeats = type(action).__name__ == "_AppendAction"
            if flag.startswith("--") and (repeats or flag not in place.given):
                yield Candidate(
                    flag, (action.help or "").replace("%(default)s", str(action.default))
                )


def _commands(parser: ArgumentParser) -> "_SubParsersAction[ArgumentParser] | None":
    actions = parser._actions  # noqa: SLF001
    return next((a for a in actions if isinstance(a, _SubParsersAction)), None)
