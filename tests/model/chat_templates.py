"""Chat templates in the shape that each family publishes, written for these tests, with the family's control tokens."""

from __future__ import annotations

from dataclasses import dataclass

CHATML = """\
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}{{- '<|im_start|>system\nYou help.<|im_end|>\n' }}{%- endif %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
HERMES = """\
{%- set first = messages[0].content if messages[0].role == 'system' else 'You help.' %}
{%- if tools %}
    {{- '<|im_start|>system\n' + first + '\n\n# Tools\n\nSignatures are within <tools></tools>:\n<tools>' }}
    {%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\n</tools>\n\nAnswer with {"name": <name>, "arguments": <object>} in tags.<|im_end|>\n' }}
{%- else %}
    {{- '<|im_start|>system\n' + first + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first)
        or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function if call.function is defined else call %}
            {{- '\n<tool_call>\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
            {{- call.arguments | tojson }}{{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- message.content }}{{- '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
QWEN3_CODER = """\
{% macro others(fields, known) %}
    {%- for key in fields if key not in known %}
        {%- if fields[key] is mapping or (fields[key] is sequence and fields[key] is not string) %}
            {{- '\n<' ~ key ~ '>' ~ (fields[key] | tojson | safe) ~ '</' ~ key ~ '>' }}
        {%- else %}
            {{- '\n<' ~ key ~ '>' ~ (fields[key] | string) ~ '</' ~ key ~ '>' }}
        {%- endif %}
    {%- endfor %}
{% endmacro %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system, rest = messages[0]['content'], messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- if system is defined or tools %}
    {{- '<|im_start|>system\n' + (system if system is defined else 'You use a computer.') }}
    {%- if tools is iterable and tools | length > 0 %}
        {{- '\n\n# Tools\n\n<tools>' }}
        {%- for tool in tools %}
            {%- set tool = tool.function %}
            {{- '\n<function>\n<name>' ~ tool.name ~ '</name>' }}
            {{- '\n<description>' ~ (tool.description | trim) ~ '</description>\n<parameters>' }}
            {%- for name, fields in tool.parameters.properties | items %}
                {{- '\n<parameter>\n<name>' ~ name ~ '</name>' }}
                {%- if fields.type is defined %}{{- '\n<type>' ~ fields.type ~ '</type>' }}{%- endif %}
                {{- others(fields, ['name', 'type']) }}
                {{- '\n</parameter>' }}
            {%- endfor %}
            {{- others(tool.parameters, ['type', 'properties']) }}
            {{- '\n</parameters>\n</function>' }}
        {%- endfor %}
        {{- '\n</tools>' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for message in rest %}
    {%- if message.role == 'assistant' and message.tool_calls is defined %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content | trim | length > 0 %}{{- '\n' + message.content | trim + '\n' }}{%- endif %}
        {%- for call in message.tool_calls %}
            {{- '\n<tool_call>\n<function=' + call.function.name + '>\n' }}
            {%- for name, value in call.function.arguments | items %}
                {{- '<parameter=' + name + '>\n' }}
                {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string)
                    else value | string %}
                {{- value }}{{- '\n</parameter>\n' }}
            {%- endfor %}
            {{- '</function>\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user\n' }}{%- endif %}
        {{- '<tool_response>\n' }}{{- message.content }}{{- '\n</tool_response>\n' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
LLAMA_2 = """\
{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}\
{% else %}{% set rest = messages %}{% endif %}{% for message in rest %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Turns must alternate') }}{% endif %}\
{% if loop.index0 == 0 and system is defined %}\
{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
LLAMA_3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now('%d %b %Y') %}
    {%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system, messages = messages[0]['content'] | trim, messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{%- if tools is not none %}{{- 'Environment: ipython\n' }}{%- endif %}
{{- 'Today Date: ' + date_string + '\n\n' + system + '<|eot_id|>' }}
{%- if tools is not none %}
    {%- set asked, messages = messages[0]['content'] | trim, messages[1:] %}
    {{- '<|start_header_id|>user<|end_header_id|>\n\nAnswer with a call of one of these.\n\n' }}
    {%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\n\n' }}{%- endfor %}
    {{- asked + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}{{- raise_exception('One call at a time') }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}{{- '}<|eot_id|>' }}
    {%- elif message.role == 'tool' or message.role == 'ipython' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}{{- '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim }}
        {{- '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
MISTRAL = """\
{%- set rest = messages[1:] if messages[0].role == 'system' else messages %}
{%- set asked = rest | selectattr('role', 'equalto', 'user') | list %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message.role == 'user' %}
        {%- if tools is not none and message == asked[-1] %}
            {{- '[AVAILABLE_TOOLS]' }}{{- tools | tojson }}{{- '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {%- if loop.last and messages[0].role == 'system' %}
            {{- '[INST]' + messages[0].content + '\n\n' + message.content + '[/INST]' }}
        {%- else %}{{- '[INST]' + message.content + '[/INST]' }}{%- endif %}
    {%- elif message.tool_calls is defined %}
        {{- '[TOOL_CALLS][' }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function | tojson %}{{- out[:-1] }}
            {%- if call.id | length != 9 %}{{- raise_exception('Identities have nine letters') }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']' + eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS]{"content": ' + message.content | string + ', "call_id": "' + message.tool_call_id }}
        {{- '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- message.content + eos_token }}{%- endif %}
{%- endfor %}
"""
DEEPSEEK_CODER_V2 = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}\
{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}\
{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}\
{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
DEEPSEEK_V3 = """\
{%- set ns = namespace(called=false, text='') -%}
{%- for message in messages -%}
  {%- if message['role'] == 'system' -%}{%- set ns.text = ns.text + message['content'] -%}{%- endif -%}
{%- endfor -%}
{{ bos_token }}{{ ns.text }}
{%- if tools is defined and tools is not none -%}
  {{ '\n\n## Tools\n' }}{%- for tool in tools -%}{{ tool.function | tojson(ensure_ascii=False) + '\n' }}{%- endfor -%}
{%- endif -%}
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}{{ '<｜User｜>' + message['content'] }}{%- set ns.called = false -%}
  {%- elif message['role'] == 'assistant' and message['tool_calls'] -%}
    {%- for call in message['tool_calls'] -%}
      {%- if loop.first -%}{{ '<｜Assistant｜>' + message['content'] + '<｜tool▁calls▁begin｜>' }}{%- endif -%}
      {{ '<｜tool▁call▁begin｜>' + call['function']['name'] + '<｜tool▁sep｜>' + call['function']['arguments'] }}
      {{- '<｜tool▁call▁end｜>' }}
    {%- endfor -%}
    {{ '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
  {%- elif message['role'] == 'assistant' -%}
    {{ ('' if ns.called else '<｜Assistant｜>') + message['content'] + '<｜end▁of▁sentence｜>' }}
  {%- elif message['role'] == 'tool' -%}
    {%- set ns.called = true -%}{{ '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and not ns.called -%}{{ '<｜Assistant｜>' }}{%- endif -%}
"""
HARMONY = """\
{%- macro kind(fields) -%}
    {%- if fields.type == 'array' -%}{{ kind(fields['items']) }}[]
    {%- elif fields.enum -%}{{ '"' + fields.enum | join('" | "') + '"' }}
    {%- else -%}{{ fields.type or 'any' }}{%- endif -%}
{%- endmacro -%}
{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '\n\nReasoning: ' }}
{{- (reasoning_effort if reasoning_effort is defined else 'medium') + '<|end|>' }}
{%- set told = messages[0].content if messages[0].role in ['developer', 'system'] else '' %}
{%- set rest = messages[1:] if messages[0].role in ['developer', 'system'] else messages %}
{%- if told or tools %}
    {{- '<|start|>developer<|message|>' }}
    {%- if told %}{{- '# Instructions\n\n' + told }}{%- endif %}
    {%- if tools %}
        {{- '\n\n# Tools\n\nnamespace functions {\n\n' }}
        {%- for tool in tools %}
            {{- '// ' + tool.function.description + '\ntype ' + tool.function.name + ' = (_: {\n' }}
            {%- for name, fields in tool.function.parameters.properties.items() %}
                {{- name }}{%- if name not in (tool.function.parameters.required or []) %}{{- '?' }}{%- endif %}
                {{- ': ' + kind(fields) }}{%- if not loop.last %}{{- ',\n' }}{%- else %}{{- '\n' }}{%- endif %}
            {%- endfor %}
            {{- '}) => any;\n\n' }}
        {%- endfor %}
        {{- '} // namespace functions' }}
    {%- endif %}
    {{- '<|end|>' }}
{%- endif %}
{%- set last = namespace(name=none) %}
{%- for message in rest %}
    {%- if message.role == 'assistant' and 'tool_calls' in message %}
        {%- set call = message.tool_calls[0].function %}{%- set last.name = call.name %}
        {{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}
        {{- call.arguments | tojson }}{{- '<|call|>' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|start|>assistant<|channel|>final<|message|>' + message.content }}
        {{- '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}
    {%- elif message.role == 'tool' %}
        {%- if last.name is none %}{{- raise_exception('A result of no call') }}{%- endif %}
        {{- '<|start|>functions.' + last.name + ' to=assistant<|channel|>commentary<|message|>' }}
        {{- message.content | tojson }}{{- '<|end|>' }}
    {%- else %}{{- '<|start|>user<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}
"""
GRANITE_3 = """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system, rest = messages[0]['content'], messages[1:] %}
{%- else %}
    {%- set system, rest = 'Today is ' + strftime_now('%B %d, %Y') + '.', messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\n' }}
{%- if tools %}
    {{- '<|start_of_role|>available_tools<|end_of_role|>' }}{{- tools | tojson(indent=4) }}{{- '<|end_of_text|>\n' }}
{%- endif %}
{%- for message in rest %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' }}
    {%- if message.tool_calls %}
        {{- '<|tool_call|>[' }}
        {%- for call in message.tool_calls %}
            {{- {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}
            {%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']' }}
    {%- else %}{{- message['content'] }}{%- endif %}
    {{- '<|end_of_text|>\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
        {%- if controls %}{{- ' ' + controls | tojson }}{%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}
"""
GRANITE_4 = """\
{%- set ns = namespace(told='You help.', results=0) %}
{%- for message in messages if message.role == 'system' %}{%- set ns.told = message.content %}{%- endfor %}
{{- '<|start_of_role|>system<|end_of_role|>' + ns.told }}
{%- if tools %}
    {{- '\n\nTools:\n<tools>' }}{%- for tool in tools %}{{- '\n' + (tool | tojson) }}{%- endfor %}{{- '\n</tools>' }}
{%- endif %}
{{- '<|end_of_text|>\n' }}
{%- for message in messages if message.role != 'system' %}
    {%- if message.role == 'tool' %}
        {%- if ns.results == 0 %}{{- '<|start_of_role|>user<|end_of_role|>' }}{%- endif %}
        {%- set ns.results = ns.results + 1 %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if not loop.last and loop.nextitem.role == 'tool' %}{%- continue %}{%- endif %}
        {%- set ns.results = 0 %}{{- '<|end_of_text|>\n' }}
        {%- continue %}
    {%- endif %}
    {{- '<|start_of_role|>' + message.role + '<|end_of_role|>' + (message.content or '') }}
    {%- for call in message.tool_calls or [] %}
        {%- if message.content or not loop.first %}{{- '\n' }}{%- endif %}
        {{- '<tool_call>\n{"name": "' ~ call.function.name ~ '", "arguments": ' }}
        {{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
        {{- '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|end_of_text|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}
"""
STARCODER_2 = """\
{{ bos_token + 'You are good at code.\n\n' }}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}{{ raise_exception('There is no system turn.') }}
    {%- elif message['role'] == 'user' %}{{ '### Instruction\n' + message['content'] + '\n\n' }}
    {%- else %}{{ '### Response\n' + message['content'] + eos_token + '\n\n' }}{%- endif %}
{%- endfor %}
{{ '### Response\n' }}"""
TRACKED = """\
{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}
{% set said = message.content | trim %}{{ '<|im_start|>assistant\n' + said + '<|im_end|>' }}{% endgeneration %}
{% else %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endif %}{{ said }}
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
ASCII = """\
{{ bos_token }}{% for message in messages %}\
{{ {'b': message.content, 'a': message.role} | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}\
{% if message.tool_calls %}{{ message.tool_calls | tojson(ensure_ascii=True) }}{% endif %}{{ eos_token }}{% endfor %}\
{% if tools %}{{ tools | tojson(ensure_ascii=True, indent=2) }}{% endif %}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A template, and what its tokenizer has. `one_call`: does it take a single call in a turn?"""

    source: str
    tokens: tuple[str, ...]
    bos: str = ""
    eos: str
    one_call: bool = False
    text_arguments: bool = False
    """Does it want the arguments of a call as text?"""


_CHATML = ("<|im_start|>", "<|im_end|>")
_GRANITE = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>")
_HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>", "<|constrain|>")
_MISTRAL = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
_DEEPSEEK_CALLS = ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep", "output▁begin", "output▁end")
FAMILIES: dict[str, Family] = {
    "chatml": Family(source=CHATML, tokens=_CHATML, eos="<|im_end|>"),
    "hermes": Family(source=HERMES, tokens=(*_CHATML, "<tool_call>", "</tool_call>"), eos="<|im_end|>"),
    "qwen3-coder": Family(source=QWEN3_CODER, tokens=(*_CHATML, "<tool_call>", "</tool_call>"), eos="<|im_end|>"),
    "llama-2": Family(source=LLAMA_2, tokens=("<s>", "</s>"), bos="<s>", eos="</s>"),
    "llama-3": Family(
        source=LLAMA_3,
        tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        one_call=True,
    ),
    "mistral": Family(source=MISTRAL, tokens=("<s>", "</s>", *_MISTRAL, "[/TOOL_RESULTS]"), bos="<s>", eos="</s>"),
    "deepseek-coder-v2": Family(source=DEEPSEEK_CODER_V2, tokens=_DEEPSEEK, bos=_DEEPSEEK[0], eos=_DEEPSEEK[1]),
    "deepseek-v3": Family(
        source=DEEPSEEK_V3,
        tokens=(*_DEEPSEEK, *(f"<｜tool▁{part}｜>" for part in _DEEPSEEK_CALLS)),
        bos=_DEEPSEEK[0],
        eos=_DEEPSEEK[1],
        text_arguments=True,
    ),
    "gpt-oss": Family(source=HARMONY, tokens=_HARMONY, eos="<|return|>", one_call=True),
    "granite-3": Family(source=GRANITE_3, tokens=_GRANITE, eos="<|end_of_text|>"),
    "granite-4": Family(source=GRANITE_4, tokens=(*_GRANITE, "<tool_call>", "</tool_call>"), eos="<|end_of_text|>"),
    "starcoder2": Family(source=STARCODER_2, tokens=("<|endoftext|>",), bos="<|endoftext|>", eos="<|endoftext|>"),
    "with generation tags": Family(source=TRACKED, tokens=_CHATML, eos="<|im_end|>"),
    "in ascii": Family(source=ASCII, tokens=("<s>", "</s>"), bos="<s>", eos="</s>"),
}
