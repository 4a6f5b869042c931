"""Makes stroke.json, the Grafana dashboard of a host: what it serves above, what its GPUs do below.

docs/generate.py writes the file. Metrics and their sources are in metrics.yml.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SERVED = 'model_name=~"$model"'
HOST = 'instance=~"$host"'
GPU = f'stroke_gpu_info{{{HOST}, slot=~"$slot"}}'
RATE = "$__rate_interval"
GREEN, YELLOW, ORANGE, RED = "#73BF69", "#FADE2A", "#FF9830", "#F2495C"
BLUE, PURPLE = "#5794F2", "#B877D9"


def by_card(metric: str) -> str:
    """A metric of the collector drm, with the PCI slot of its card."""
    return f"{metric}{{{HOST}}} * on (instance, card) group_left (slot, gfx) {GPU}"


def by_chip(expression: str) -> str:
    """A metric of the collector hwmon, with the PCI slot of its chip."""
    return f"({expression}) * on (instance, chip) group_left (slot, gfx) {GPU}"


POWER = f"node_hwmon_power_average_watt{{{HOST}}} or node_hwmon_power_watt{{{HOST}}}"
GENERATED = f"sum(rate(vllm:generation_tokens_total{{{SERVED}}}[{RATE}]))"


def rate(metric: str, by: str = "") -> str:
    """Sum of a counter's rate, over the labels named."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{SERVED}}}[{RATE}]))"


def quantile(share: float, histogram: str) -> str:
    """A quantile of a vLLM histogram over all engines."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le')})"


def quantiles(histogram: str) -> list[tuple[str, str]]:
    """The three that people compare."""
    return [(quantile(share, histogram), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)]


def targets(queries: list[tuple[str, str]], form: str = "time_series") -> list[Json]:
    """Queries with their legends."""
    return [
        {"datasource": SOURCE, "expr": expression, "legendFormat": legend, "format": form,
         "editorMode": "code", "range": True, "refId": chr(65 + place)}
        for place, (expression, legend) in enumerate(queries)
    ]  # fmt: skip


def steps(*pairs: tuple[float | None, str]) -> Json:
    """Thresholds: from a value on, a colour."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in pairs],
    }


def stat(title: str, expression: str, unit: str, about: str, limits: Json | None = None,
         **more: Any) -> Json:  # fmt: skip
    """One large figure with its recent course behind it."""
    limits = limits or steps((None, BLUE))
    return {
        "type": "stat", "title": title, "description": about, "datasource": SOURCE,
        "targets": targets([(expression, "")]),
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": limits, "noValue": "-",
                                     "color": {"mode": "thresholds"}, **more}, "overrides": []},
        "options": {"colorMode": "value", "graphMode": "area", "textMode": "value",
                    "justifyMode": "center", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }  # fmt: skip


def series(title: str, queries: list[tuple[str, str]], unit: str, about: str, *,
           stack: bool = False, fill: int = 12, table: bool = True, overrides: Any = (),
           **more: Any) -> Json:  # fmt: skip
    """Curves over time, with their last and largest values in the legend."""
    custom = {"drawStyle": "line", "lineInterpolation": "smooth", "lineWidth": 2,
              "fillOpacity": 40 if stack else fill, "gradientMode": "opacity",
              "showPoints": "never", "spanNulls": False,
              "stacking": {"mode": "normal" if stack else "none", "group": "A"}}  # fmt: skip
    legend = {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}
    return {
        "type": "timeseries", "title": title, "description": about, "datasource": SOURCE,
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom,
                                     "color": {"mode": "palette-classic"}, **more},
                        "overrides": list(overrides)},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"},
                    "legend": legend if table else {"displayMode": "list", "placement": "bottom"}},
    }  # fmt: skip


def dashed(pattern: str, color: str) -> Json:
    """A limit: a dashed line without an area below."""
    return {
        "matcher": {"id": "byRegexp", "options": pattern},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "color", "value": {"mode": "fixed", "fixedColor": color}},
        ],
    }


def heat(title: str, histogram: str, about: str) -> Json:
    """How latencies are spread over time."""
    return {
        "type": "heatmap", "title": title, "description": about, "datasource": SOURCE,
        "targets": targets([(rate(f"{histogram}_bucket", "le"), "{{le}}")], "heatmap"),
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {"calculate": False, "cellGap": 1, "yAxis": {"unit": "s"},
                    "color": {"mode": "scheme", "scheme": "Turbo", "steps": 64},
                    "tooltip": {"mode": "single", "yHistogram": True},
                    "filterValues": {"le": 1e-9}, "legend": {"show": True}},
    }  # fmt: skip


def overview() -> list[Json]:
    """The first row: is it well, at one glance."""
    share = steps((None, GREEN), (0.7, YELLOW), (0.9, RED))
    gtt = (f"max({by_card('node_drm_memory_gtt_used_bytes')}) "
           f"/ max({by_card('node_drm_memory_gtt_size_bytes')})")  # fmt: skip
    return [
        stat("Output", GENERATED, "suffix: tok/s", "Tokens generated per second, all requests."),
        stat("First token, p95", quantile(0.95, "vllm:time_to_first_token_seconds"), "s",
             "95 of 100 requests get their first token within this time.",
             steps((None, GREEN), (2, YELLOW), (10, RED))),
        stat("Between tokens, p50", quantile(0.5, "vllm:inter_token_latency_seconds"), "s",
             "What a reader sees: 0.1 s is ten tokens a second.",
             steps((None, GREEN), (0.15, YELLOW), (0.4, RED))),
        stat("Waiting", f"sum(vllm:num_requests_waiting{{{SERVED}}})", "short",
             "Requests in the queue.", steps((None, GREEN), (1, YELLOW), (10, RED))),
        stat("KV cache", f"max(vllm:kv_cache_usage_perc{{{SERVED}}})", "percentunit",
             "Used share of the KV cache: full means that requests wait or are preempted.",
             share, max=1),
        stat("GTT", gtt, "percentunit", "Used share of the memory that the GPU may map.",
             steps((None, GREEN), (0.9, YELLOW), (0.97, RED)), max=1),
        stat("GPU", f"max({by_card('node_drm_gpu_busy_percent')})", "percent",
             "How busy the busiest GPU is."),
        stat("Power", f"sum({by_chip(POWER)})", "watt", "All GPUs together."),
    ]  # fmt: skip


def serving() -> list[Json]:
    """What the engine does."""
    phases = [("queue", "waiting"), ("prefill", "prefill"), ("decode", "decode")]
    times = [
        (f"{rate(f'vllm:request_{key}_time_seconds_sum')} / "
         f"{rate(f'vllm:request_{key}_time_seconds_count')}", name)
        for key, name in phases
    ]  # fmt: skip
    hits = f"{rate('vllm:prefix_cache_hits_total')} / {rate('vllm:prefix_cache_queries_total')}"
    return [
        series("Tokens per second", [(GENERATED, "generated"),
               (rate("vllm:prompt_tokens_total"), "read (prompts)")], "suffix: tok/s",
               "Prompts are read in bursts, answers are written one token at a time."),
        series("Requests", [(f"sum(vllm:num_requests_running{{{SERVED}}})", "running"),
               (f"sum(vllm:num_requests_waiting{{{SERVED}}})", "waiting")], "short",
               "Waiting ones mean that the KV cache or --max-num-seqs is the limit.", stack=True),
        series("Time to first token", quantiles("vllm:time_to_first_token_seconds"), "s",
               "Queue and prefill."),
        series("Time between tokens", quantiles("vllm:inter_token_latency_seconds"), "s",
               "Bound by memory bandwidth: see stroke estimate for what is possible."),
        heat("Whole requests", "vllm:e2e_request_latency_seconds", "From arrival to last token."),
        series("Where a request spends its time", times, "s", "Mean over finished requests.",
               stack=True),
        series("KV cache and prefix cache",
               [(f"max(vllm:kv_cache_usage_perc{{{SERVED}}})", "KV cache used"),
                (hits, "prompt tokens found in the prefix cache")], "percentunit",
               "A prefix that was read before costs nothing.", max=1),
        series("Finished requests", [
               (rate("vllm:request_success_total", "finished_reason"), "{{finished_reason}}"),
               (rate("vllm:num_preemptions_total"), "preempted")], "reqps",
               "abort: the client went away. Preempted: thrown out of a full KV cache, and "
               "computed again.", stack=True),
    ]  # fmt: skip


def hardware() -> list[Json]:
    """What the GPUs do, by PCI slot."""
    slot = "{{slot}}"
    return [
        series("GPU memory (GTT)", [
               (by_card("node_drm_memory_gtt_used_bytes"), f"{slot} used"),
               (by_card("node_drm_memory_gtt_size_bytes"), f"{slot} size"),
               (f"stroke_ttm_limit_bytes{{{HOST}}}", "ttm.pages_limit")], "bytes",
               "Memory of the host that the GPU maps. On an APU it holds weights and KV cache.",
               overrides=[dashed("/size$/", ORANGE), dashed("/pages_limit$/", RED)]),
        series("GPU memory (VRAM)", [
               (by_card("node_drm_memory_vram_used_bytes"), f"{slot} used"),
               (by_card("node_drm_memory_vram_size_bytes"), f"{slot} size")], "bytes",
               "Memory of the GPU's own; on an APU the part that the BIOS carved out.",
               overrides=[dashed("/size$/", ORANGE)]),
        series("Busy", [(by_card("node_drm_gpu_busy_percent"), slot)], "percent",
               "100 % with no tokens for a while is a hang.", max=100),
        series("Power", [(by_chip(POWER), f"{slot} {{{{sensor}}}}")], "watt",
               "As the driver tells it; on an APU of the whole package."),
        series("Temperature", [(by_chip(f"node_hwmon_temp_celsius{{{HOST}}}"),
               f"{slot} {{{{sensor}}}}")], "celsius", "Edge; junction and memory where they are."),
        series("Clocks", [(by_chip(f"node_hwmon_freq_freq_mhz{{{HOST}}}"),
               f"{slot} {{{{sensor}}}}")], "suffix: MHz", "Throttling shows here first."),
        series("Tokens per joule", [(f"{GENERATED} / sum({by_chip(POWER)})", "generated")],
               "suffix: tok/J", "Tokens for each watt and second: 0.1 is 36 thousand for a kWh."),
        series("Memory of the host", [
               (f"node_memory_MemAvailable_bytes{{{HOST}}}", "{{instance}} available"),
               (f"node_memory_MemTotal_bytes{{{HOST}}}", "{{instance}} installed")], "bytes",
               "What the GPU maps is missing here on an APU.",
               overrides=[dashed("/installed$/", ORANGE)]),
    ]  # fmt: skip


def variable(name: str, label: str, query: str) -> Json:
    """A choice above the panels; all by default."""
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE, "refresh": 2,
        "query": {"query": query, "refId": name}, "definition": query, "sort": 1,
        "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def laid_out() -> list[Json]:
    """Panels with their places on the grid of 24 columns."""
    panels: list[Json] = []
    top = 0

    def row(title: str, found: list[Json], width: int, height: int) -> None:
        nonlocal top
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": place,
                       "panels": []})  # fmt: skip
        top += 1
        for number, panel in enumerate(found):
            across = 24 // width
            at = {"h": height, "w": width, "x": number % across * width,
                  "y": top + number // across * height}  # fmt: skip
            panels.append({**panel, "gridPos": at})
        top += -(-len(found) // (24 // width)) * height

    row("At a glance", overview(), 3, 4)
    row("Serving: $model", serving(), 12, 8)
    row("GPUs of $host", hardware(), 12, 8)
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def dashboard() -> Json:
    """The whole dashboard."""
    return {
        "uid": "stroke-host",
        "title": "stroke: serving on AMD GPUs",
        "description": "What vLLM serves, and what the host's AMD GPUs do, by PCI slot.",
        "tags": ["stroke", "vllm", "amdgpu"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"type": "datasource", "name": "datasource", "label": "Prometheus",
                 "query": "prometheus", "refresh": 1},
                variable("host", "Host", "label_values(stroke_gpu_info, instance)"),
                variable("slot", "GPU", f"label_values(stroke_gpu_info{{{HOST}}}, slot)"),
                variable("model", "Model", "label_values(vllm:num_requests_running, model_name)"),
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": laid_out(),
    }  # fmt: skip


def page() -> str:
    """The file as it is in the repository."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
