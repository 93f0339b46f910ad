"""What is said while a verb works, in a process of its own: loggers are of the whole process."""

import os
import subprocess
import sys

SCRIPT = """
import logging
from datasets import Dataset
import caredio

{before}
rows = [
    {{"question": f"What is eaten on day {{day}}?", "response": f"{{dish}} {{day}}", "culture": culture}}
    for day in range(3)
    for culture, dish in (("mexico", "tamales"), ("korea", "kimchi"))
]
rows.append({{"question": "What is drunk?", "response": "soju", "culture": "korea"}})
caredio.select(Dataset.from_list(rows), theta=0.99)
{after}
"""
WARNING = (
    "korea: no other culture answered the question of 1 of 4 rows (such as 'What is drunk?'); they are not ranked."
)


def said(before, after=""):
    command = [sys.executable, "-c", SCRIPT.format(before=before, after=after)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    foreign = "kernels-community"  # of bitsandbytes, where it is installed without a package that it looks for
    return [line for line in done.stderr.splitlines() if foreign not in line]


def test_quiet_leaves_warnings_and_loud_shows_stages_again():
    again = "caredio.quiet(False)\ncaredio.select(Dataset.from_list(rows), theta=0.99)"
    first, *lines = said("caredio.quiet()", again)
    assert first == WARNING
    tables = ["candidates", "vectors", "scored", "ranked", "preference:", "preference", "unpaired"]
    assert [line.split()[0] for line in lines] == ["korea:", *tables]


def test_a_program_s_own_handlers_get_each_line_once():
    own = "logging.basicConfig(format='own %(message)s', level='INFO')"
    heard = [line for line in said(own) if "korea" in line or " rows" in line]
    assert heard[0] == f"own {WARNING}"
    assert len(heard) == 8  # the warning, six tables, and what tells the sides of pairs apart
    assert [line for line in said(f"{own}\ncaredio.quiet()") if "korea" in line or " rows" in line] == heard[:1]


HUB = """
import logging
from huggingface_hub.utils import _http
from caredio import messages

_http.time.sleep = lambda seconds: None
messages.show()
try:
    list(_http.http_backoff("GET", "http://127.0.0.1:9/api"))
except Exception as error:
    print(type(error).__name__)
logging.getLogger("huggingface_hub.utils._http").warning("HTTP Error 503 thrown while requesting GET there")
"""


def test_of_a_hub_that_is_not_reached_no_line_for_each_try_is_shown():
    online = os.environ | {"HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", HUB], env=online, capture_output=True, text=True)
    assert done.stdout == "ConnectError\n", done.stderr
    assert [line for line in done.stderr.splitlines() if "thrown" in line or "Retry" in line] == [
        "HTTP Error 503 thrown while requesting GET there"
    ]
