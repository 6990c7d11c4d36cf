--- Why the last suggestion is what it is, or why there was none, as a page to read.

local client_of = require("tersely.client")

local api = vim.api

local M = {}

---@param message string
local function complain(message)
  vim.notify("tersely: " .. message, vim.log.levels.ERROR)
end

local function fenced(lines, text)
  local fence = "```"
  while text:find(fence, 1, true) do
    fence = fence .. "`"
  end
  lines[#lines + 1] = fence
  vim.list_extend(lines, vim.split(text, "\n", { plain = true }))
  lines[#lines + 1] = fence
end

--- The page for an answer to `tersely/explain`.
---@param answer table
---@return string[]
function M.page(answer)
  local tokens, times = answer.tokens, answer.timings_ms
  local lines = { "# The suggestion", "" }
  fenced(lines, answer.text == "" and "(nothing worth showing)" or answer.text)
  vim.list_extend(lines, {
    "",
    ("- model: %s"):format(answer.model),
    ("- ended by: %s; confidence %.2f"):format(answer.stop_reason, answer.confidence),
    ("- tokens: %d in the prompt, %d of them reused, %d generated"):format(
      tokens.prompt,
      tokens.reused,
      tokens.generated
    ),
    ("- milliseconds: context %.1f, prompt %.1f, queue %.1f, prefill %.1f, decode %.1f, total %.1f"):format(
      times.context,
      times.prompt,
      times.queue,
      times.prefill,
      times.decode,
      times.total
    ),
  })
  for _, note in ipairs(answer.explain.filters) do
    lines[#lines + 1] = "- " .. note
  end
  vim.list_extend(lines, { "", "## Context", "" })
  for _, use in ipairs(answer.explain.context) do
    lines[#lines + 1] = ("- %s, %s, lines %d to %d (%d characters): %s"):format(
      use.source,
      use.path,
      use.lines[1],
      use.lines[2],
      use.characters,
      use.reason
    )
  end
  vim.list_extend(lines, { "", "## What the model generated", "" })
  fenced(lines, answer.explain.generated)
  vim.list_extend(lines, { "", "## The prompt", "" })
  fenced(lines, answer.explain.prompt)
  return lines
end

---@param lines string[]
local function show(lines)
  vim.cmd.new()
  local bufnr = api.nvim_get_current_buf()
  vim.bo[bufnr].buftype, vim.bo[bufnr].bufhidden, vim.bo[bufnr].swapfile = "nofile", "wipe", false
  api.nvim_buf_set_lines(bufnr, 0, -1, false, lines)
  vim.bo[bufnr].modifiable, vim.bo[bufnr].filetype = false, "markdown"
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = bufnr, desc = "Close" })
end

--- Ask the server about the buffer's last suggestion, and open its answer in a window.
function M.open()
  local bufnr = api.nvim_get_current_buf()
  local client = client_of.of(bufnr)
  if not client then
    complain("no server is running for this buffer; look at :checkhealth tersely")
    return
  end
  local params = { textDocument = { uri = vim.uri_from_bufnr(bufnr) } }
  client_of.request(client, "tersely/explain", params, function(err, answer)
    if err then
      complain("no explanation: " .. err.message)
    elseif type(answer) ~= "table" or not answer.explain then
      complain("nothing was suggested here yet")
    else
      show(M.page(answer))
    end
  end, bufnr)
end

return M
