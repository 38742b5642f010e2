"""Makes a bash script of the first minutes in the README: what its readers type, in the order in which they do.

    python3 readme.py README.md

A block of sh is done where the words before it say: in this checkout, or in the project beside it. One before which it
says "write this into `FILE`" becomes that file. Another one of ts is looked at by the compiler. All sql is one session of
psql. Whatever is not understood is an error, so that a change of the README is met here.
"""
import re
import shlex
import sys

SECTIONS = ("TypeScript", "Python", "psql")
PROJECT = "../wordcount"
# What the snippet about browsers takes for granted.
DECLARED = "declare const getToken: () => Promise<string>;\n"


def script(markdown: str) -> str:
    # What is left running ends with the section, and with the script: each job with its children, as kill %1 does it.
    lines = ["checkout=$PWD", "set -m", 'end() { for job in $(jobs -p); do kill -- "-$job"; done; wait; }', "trap end EXIT"]
    session = ""
    for section in SECTIONS:
        found = re.search(rf"^## Five minutes in {section}\n(.*?)^## ", markdown, re.M | re.S)
        if found is None:
            sys.exit(f"there is no section about five minutes in {section}")
        place = None
        # Words, then a block.
        for words, language, block in re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", found[1], re.M | re.S):
            words = " ".join(words.split())
            if re.search(r"\b[Ii]n this checkout\b", words):
                place = "$checkout"
            elif re.search(r"\b(In `\.\./wordcount`|[Tt]here,|there:$)", words):
                place = f"$checkout/{PROJECT}"
            file = re.search(r"write this into `([\w.]+)`", words)
            if language == "sql":
                session += block
                continue
            if place is None:
                sys.exit(f"where is this to be done? {block}")
            lines.append(f'cd "{place}"')
            if file is not None:
                lines.append(f"printf %s {shlex.quote(block)} >{file[1]}")
            elif language == "sh":
                # As it is typed: a job in the background goes on.
                lines.append(f"echo {shlex.quote(block.rstrip())}")
                lines.append(block)
            elif language == "ts":
                lines.append(f"printf %s {shlex.quote(DECLARED + block)} >snippet.mts")
                lines.append(
                    '"$checkout/clients/typescript/node_modules/.bin/tsc" --ignoreConfig --noEmit --strict --skipLibCheck '
                    "--noUncheckedIndexedAccess --module nodenext --target es2022 --lib es2023,dom --types node "
                    '--typeRoots "$checkout/clients/typescript/node_modules/@types" *.mts'
                )
            else:
                sys.exit(f"what is to become of a block of {language}?")
        lines.append("end")
    lines.append(f"psql -X -v ON_ERROR_STOP=1 -f - <<'END_OF_SESSION'\n{session}END_OF_SESSION")
    return "\n".join(lines) + "\n"


print(script(open(sys.argv[1], encoding="utf-8").read()))
