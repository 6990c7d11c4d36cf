--- A wish in words for a buffer or some of its lines. The server plans it and has Neovim make the change; what became
--- of it is told here. Decides nothing, and writes no file.

local client_of = require("tersely.client")

local api = vim.api

local M = {}

local METHOD = "workspace/executeCommand"
local COMMAND = "tersely.refactor"
local LIKELY = 0.5

--- The request under way, so that it can be cancelled: its client and its id.
---@type { client: vim.lsp.Client, id?: integer }?
local asked

---@param message string
---@param level? integer
local function say(message, level)
  vim.notify("tersely: " .. message, level or vim.log.levels.INFO)
end

--- Lines as the server has a selection: from the first's start to the start of the one behind the last.
---@param first integer counted from 1
---@param last integer counted from 1, included
local function range_of(first, last)
  return { start = { line = first - 1, character = 0 }, ["end"] = { line = last, character = 0 } }
end

--- What is left to the user, into the quickfix list: places that the name may mean, or not.
---@param review { path: string, line: integer, why: string, text: string }[]
---@param root string
local function list(review, root)
  local items = vim.tbl_map(function(one)
    return { filename = vim.fs.joinpath(root, one.path), lnum = one.line, text = ("%s: %s"):format(one.why, one.text) }
  end, review)
  vim.fn.setqflist({}, " ", { title = "tersely: places to look at", items = items })
end

--- Tell what became of a wish. Why one was refused has been told by the server itself.
---@param report table
---@param root string
local function tell(report, root)
  if report.status ~= "changed" then
    return
  end
  if not report.applied then
    say("the change could not be made; nothing is written", vim.log.levels.WARN)
    return
  end
  local lines = { ("changed %s; not written yet"):format(table.concat(report.changed, ", ")) }
  vim.list_extend(lines, report.notes)
  if report.confidence < LIKELY then
    lines[#lines + 1] = ("the model was not sure (%d %%): look at the change"):format(report.confidence * 100)
  end
  if #report.review > 0 then
    list(report.review, root)
    lines[#lines + 1] = ("places left for you to look at, in the quickfix list: %d"):format(#report.review)
  end
  say(table.concat(lines, "\n"))
end

---@param bufnr integer
---@param wish string
---@param range? table
local function ask(bufnr, wish, range)
  local client = api.nvim_buf_is_valid(bufnr) and client_of.of(bufnr)
  if not client then
    say("no server is running for this buffer; look at :checkhealth tersely", vim.log.levels.WARN)
    return
  end
  local params = { command = COMMAND, arguments = { { uri = vim.uri_from_bufnr(bufnr), wish = wish, range = range } } }
  local mine = { client = client }
  mine.id = client_of.request(client, METHOD, params, function(err, report)
    asked = asked ~= mine and asked or nil
    if err then
      say(err.message, vim.log.levels.ERROR)
    else
      tell(report, client.config.root_dir)
    end
  end, bufnr)
  if mine.id then
    asked = mine
    say(("planning: %s"):format(wish))
  end
end

--- Ask for a wish, or for the wish itself where none is given. One at a time.
---@param wish string empty: the user is asked
---@param first? integer the first line of a selection
---@param last? integer
function M.start(wish, first, last)
  if asked and not asked.client:is_stopped() then
    say("a refactoring is under way; :Tersely cancel ends it", vim.log.levels.WARN)
    return
  end
  local bufnr = api.nvim_get_current_buf()
  local range = first and range_of(first, last) or nil
  if wish ~= "" then
    ask(bufnr, wish, range)
    return
  end
  vim.ui.input({ prompt = "Refactor: " }, function(given)
    if given and vim.trim(given) ~= "" then
      ask(bufnr, vim.trim(given), range)
    end
  end)
end

--- End the refactoring under way. Neovim says nothing of an answer to what was cancelled.
function M.cancel()
  if not asked then
    say("no refactoring is under way", vim.log.levels.WARN)
    return
  end
  client_of.cancel(asked.client, asked.id)
  asked = nil
  say("cancelled")
end

return M
