"""What the sources have that documents speak of: metrics, settings, commands of the executables, targets of make."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXECUTABLES = {"order-api": "OrderAPI", "consumer": "Consumer", "aggregator": "Aggregator", "scheduler": "Scheduler",
               "data-platform": "DataPlatform", "orderctl": "OrderCtl"}

METRIC = re.compile(r'\.(counter|gauge|histogram)\(\s*"([a-z0-9_]+)",\s*help:\s*((?:"(?:[^"\\]|\\.)*"[\s+]*)+)'
                    r'(?:,\s*labels:\s*\[([^\]]*)\])?')
SETTING = re.compile(r'(?:\.(?:url|string|secret|port|integer|milliseconds|choice|base)|[^.\w](?:string|integer))\(\s*"([A-Z_]+)"|'
                     r'(?:own|portKey): ?"([A-Z_]+)"|let own = "([A-Z_]+)"')


def swift(folder="Sources"):
    return {path: path.read_text() for path in sorted((ROOT / folder).rglob("*.swift"))}


def metrics():
    """name: (kind, help, labels, target of the sources)."""
    found = {}
    for path, text in swift().items():
        for kind, name, words, labels in METRIC.findall(text):
            words = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', words))
            target = path.relative_to(ROOT / "Sources").parts[0]
            old = found.get(name)
            targets = sorted({target, *(old[3] if old else [])})
            found[name] = (kind, words, re.findall(r'"(\w+)"', labels), targets)
    return found


def settings():
    """The keys that our executables read from the environment."""
    found = set()
    for path, text in swift().items():
        found |= {key for keys in SETTING.findall(text) for key in keys if key}
    # What the schedule hands on to jobs under another name.
    found |= set(re.findall(r'= "\$(\w+)"', (ROOT / "ops/schedule.toml").read_text()))
    return found


def setting_texts():
    """What `--help` of the executables says of each key of the environment, by key. Further lines of a text are set in
    deeper than its key."""
    found = {}
    for text in swift().values():
        key, column = None, 0
        for line in text.splitlines():
            begun = re.match(r"( {10,16})([A-Z]+(?:_[A-Z]+)+)(?: {2,}(\S.*))?$", line)
            if begun:
                key, column = begun[2], len(begun[1]) + 2
                found.setdefault(key, []).append(begun[3] or "")
            elif key and re.match(rf" {{{column + 1},}}\S", line):
                found[key][-1] += " " + line.strip()
            else:
                key = None
    return found


def make_targets():
    return set(re.findall(r"^([a-z-]+): ##", (ROOT / "Makefile").read_text(), re.MULTILINE))


class Commands:
    """The subcommands and options of each executable, as its sources declare them."""

    def __init__(self):
        self.of = {name: self.read(target) for name, target in EXECUTABLES.items()}

    @staticmethod
    def read(target):
        """parent command: its subcommands, and under None all long options."""
        texts = swift(f"Sources/{target}").values()
        tree, options = {}, {"help", "version"}
        for text in texts:
            for name, rest in re.findall(r"(?:struct|enum) (\w+): (?:Async)?ParsableCommand(.*?)(?=ParsableCommand|\Z)", text,
                                         re.DOTALL):
                listed = re.search(r"subcommands: \[([^\]]*)\]", rest)
                if listed:
                    tree[name.lower()] = {kebab(sub) for sub in re.findall(r"(\w+)\.self", listed[1])}
            for words, variable in re.findall(r"@(?:Option|Flag)(.*?)\bvar (\w+)", text, re.DOTALL):
                named = re.findall(r'(?:customLong\(|\.long\(|name: )"([\w-]+)"', words)
                options |= set(named) or {kebab(variable)}
        return tree, options

    def root(self, executable):
        """The key of the executable itself among its commands."""
        return next((name for name in self.of[executable][0] if name.startswith(executable.replace("-", ""))), None)

    def problem(self, executable, words):
        """What is wrong with a call of the executable, or nothing."""
        tree, options = self.of[executable]
        commands = tree.get(self.root(executable), set())
        spoken = [word for word in words if not word.startswith("-")]
        if commands and (not spoken or spoken[0] not in commands):
            return None if not spoken else f"`{executable} {spoken[0]}` is no command"
        if len(spoken) > 1 and spoken[0] in tree and spoken[1] not in tree[spoken[0]]:
            return f"`{executable} {spoken[0]} {spoken[1]}` is no command"
        for word in words:
            name = word[2:].partition("=")[0]
            if word.startswith("--") and name and name not in options:
                return f"`{executable}` has no option --{name}"
        return None


def kebab(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
