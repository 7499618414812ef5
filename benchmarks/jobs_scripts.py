"""The same job of paid calls for each tool; `jobs.py` runs them.

A job reads ``rows.csv`` (id, text) and ``settings.json``, asks the model each of its prompts about
each row, and ends. It is killed in the middle, and started again as it stands. `FUNCTIONS` is what
a user of TableVault writes, together with the fields of its builders.
"""

from __future__ import annotations

from pathlib import Path

from paid_calls_jobs import Tool

ROOT = Path(__file__).resolve().parents[1]

FUNCTIONS = """\
from openai import AsyncOpenAI

from tablevault import report_usage

client = AsyncOpenAI(max_retries=0)


async def ask(prompt, text):
    messages = [{"role": "user", "content": f"{prompt} {text}"}]
    found = await client.chat.completions.create(model="small-1", messages=messages)
    report_usage("small-1", found.usage.prompt_tokens, found.usage.completion_tokens)
    return found.choices[0].message.content
"""

WAITING = """\
import asyncio


async def wait(text):
    await asyncio.sleep(0.1)
    return text
"""

TABLEVAULT = """\
import json
import os
import time

from tablevault import TableVault
from tablevault.errors import TVBudgetError

with open("settings.json") as file:
    settings = json.load(file)
builders = {
    "answers_index": {
        "builder_type": "IndexBuilder",
        "changed_columns": ["id", "text"],
        "primary_key": ["id"],
        "python_function": "create_data_table_from_csv",
        "code_module": "table_generation",
        "arguments": {"csv_file_path": "rows.csv"},
        "dtypes": {"id": "string", "text": "string"},
    }
}
for name, prompt in settings["prompts"].items():
    builders[name] = {
        "builder_type": "ColumnBuilder",
        "changed_columns": [name],
        "python_function": "ask",
        "code_module": "functions",
        "is_custom": True,
        "return_type": "row-wise",
        "arguments": {"prompt": prompt, "text": "<<self.text[index]>>"},
        "n_threads": settings["at_once"],
        "retry": {"times": 20, "wait_s": 0.2},
        "timeout_s": 60,
        "on_error": "keep",
        "limits": settings["limits"],
    }
    if settings["is_waiting"]:
        for field in ("retry", "timeout_s", "on_error", "limits"):
            del builders[name][field]
        builders[name] |= {"python_function": "wait", "code_module": "waiting"}
        builders[name] |= {"arguments": {"text": "<<self.text[index]>>"}}
is_new = not os.path.exists("vault")
vault = TableVault("vault", author="Ana <ana@example.org>", create=is_new)
if is_new:
    vault.set_config("prices.small-1", {"input": 10, "output": 10})
    vault.create_table("answers")
    for module in ("functions.py", "waiting.py"):
        vault.create_code_module(copy_dir=module)
texts = {name: json.dumps(builder) for name, builder in builders.items()}
rows_s = 0.0
if settings["is_waiting"]:
    vault.create_instance("answers", builders={"answers_index": texts["answers_index"]})
    start = time.perf_counter()
    vault.execute_instance("answers")
    rows_s = time.perf_counter() - start
if "TEMP_base" not in vault.get_table_instances("answers", include_temp=True):
    vault.create_instance("answers", builders=texts)
start = time.perf_counter()
try:
    vault.execute_instance("answers", process_id=settings["name"])
except TVBudgetError as error:
    print(error)
else:
    seconds = time.perf_counter() - start
    frame, _ = vault.get_dataframe("answers", columns=list(settings["prompts"]))
    print(json.dumps([seconds, int(frame.notna().sum().sum()), rows_s]))
"""

SCRIPT = """\
import asyncio
import csv
import json
import os
import time

import openai
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

client = openai.AsyncOpenAI(max_retries=0)
passing = (openai.RateLimitError, openai.APIConnectionError, openai.InternalServerError)
with open("settings.json") as file:
    settings = json.load(file)
with open("rows.csv") as file:
    texts = [row["text"] for row in csv.DictReader(file)]
done = {}
if os.path.exists("done.jsonl"):
    with open("done.jsonl") as file:
        for line in file:
            if line.endswith("\\n"):  # the last one may be cut off
                found = json.loads(line)
                done[found["request"]] = found["answer"]


@retry(
    retry=retry_if_exception_type(passing),
    wait=wait_random_exponential(multiplier=0.2, max=60),
    stop=stop_after_attempt(21),
    reraise=True,
)
async def ask(request):
    messages = [{"role": "user", "content": request}]
    found = await client.chat.completions.create(model="small-1", messages=messages, timeout=60)
    return found.choices[0].message.content


async def fill(request, places, file):
    async with places:
        if settings["is_waiting"]:
            await asyncio.sleep(0.1)
            answer = request
        else:
            try:
                answer = await ask(request)
            except openai.APIError:
                return
        done[request] = answer
        file.write(json.dumps({"request": request, "answer": answer}) + "\\n")
        file.flush()


async def main():
    for prompt in settings["prompts"].values():
        places = asyncio.Semaphore(settings["at_once"])
        requests = [f"{prompt} {text}" for text in texts]
        with open("done.jsonl", "a") as file:
            calls = (fill(each, places, file) for each in requests if each not in done)
            await asyncio.gather(*calls)


start = time.perf_counter()
asyncio.run(main())
wanted = {f"{prompt} {text}" for prompt in settings["prompts"].values() for text in texts}
print(json.dumps([time.perf_counter() - start, len(wanted & done.keys()), 0]))
"""

CURATOR = """\
import csv
import importlib.util
import json
import os
import time

# Its tokenizer is downloaded; the same file comes with a package that it needs.
litellm = os.path.dirname(importlib.util.find_spec("litellm").origin)
os.environ["TIKTOKEN_CACHE_DIR"] = os.path.join(litellm, "litellm_core_utils", "tokenizers")

from bespokelabs import curator
from datasets import Dataset

with open("settings.json") as file:
    settings = json.load(file)
with open("rows.csv") as file:
    rows = list(csv.DictReader(file))


class Ask(curator.LLM):
    def prompt(self, row):
        return f"{row['prompt']} {row['text']}"

    def parse(self, row, response):
        return {"id": row["id"], "answer": response}


parameters = {
    "base_url": os.environ["OPENAI_BASE_URL"],
    "max_concurrent_requests": settings["at_once"],
    "max_requests_per_minute": 1_000_000,
    "max_tokens_per_minute": settings["limits"].get("tokens_per_minute", 1_000_000_000),
    "max_retries": 20,
    "seconds_to_pause_on_rate_limit": 1,
    "require_all_responses": False,
}
start = time.perf_counter()
answers = 0
for prompt in settings["prompts"].values():
    ask = Ask(model_name="small-1", backend="openai", backend_params=parameters)
    asked = Dataset.from_list([{**row, "prompt": prompt} for row in rows])
    answers += len(ask(asked, working_dir="curator").dataset)
print(json.dumps([time.perf_counter() - start, answers, 0]))
"""

TOOLS = {
    "tablevault": Tool(
        title="TableVault {}",
        package="tablevault",
        install=("-e", f"{ROOT}[openai]"),
        job=TABLEVAULT,
        files=(("functions.py", FUNCTIONS), ("waiting.py", WAITING)),
    ),
    "script": Tool(
        title="asyncio + tenacity {}",
        package="tenacity",
        install=("tenacity", "openai"),
        job=SCRIPT,
    ),
    "curator": Tool(
        title="bespokelabs-curator {}",
        package="bespokelabs-curator",
        install=("bespokelabs-curator",),
        job=CURATOR,
    ),
}
