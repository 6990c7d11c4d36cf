--- What another language server of a buffer would rename, as tersely's asks for it. Changes nothing.

local client_of = require("tersely.client")
local position = require("tersely.position")

local M = {}

local METHOD = "textDocument/rename"
local WAIT_MS = 5000

--- A client that can rename in a buffer; not tersely's own.
---@param bufnr integer
---@return vim.lsp.Client?
local function other(bufnr)
  return vim.iter(vim.lsp.get_clients({ bufnr = bufnr, method = METHOD })):find(function(client)
    return client.name ~= client_of.NAME
  end)
end

--- The edits of a workspace edit by file; nil for one that moves files, too.
---@param edit table
---@return { uri: string, edits: table[] }[]?
local function by_file(edit)
  local changes = {}
  for uri, edits in pairs(edit.changes or {}) do
    changes[#changes + 1] = { uri = uri, edits = edits }
  end
  for _, change in ipairs(edit.documentChanges or {}) do
    if change.kind then
      return nil
    end
    changes[#changes + 1] = { uri = change.textDocument.uri, edits = change.edits }
  end
  return changes
end

--- A column of the server's in the units of another.
local function converted(bufnr, place, from, to)
  local line = vim.api.nvim_buf_get_lines(bufnr, place.line, place.line + 1, false)[1] or ""
  local col = position.to_col(line, place.character, from)
  return { line = place.line, character = position.to_character(line, col, to) }
end

--- The handler of `tersely/rename`. Waits for the other's answer: what is typed meanwhile could not be renamed anyway.
---@param params { textDocument: { uri: string }, position: { line: integer, character: integer }, newName: string }
---@param asking vim.lsp.Client
---@return table|userdata
function M.answer(params, asking)
  local bufnr = vim.uri_to_bufnr(params.textDocument.uri)
  local client = vim.api.nvim_buf_is_loaded(bufnr) and other(bufnr)
  if not client then
    return vim.NIL
  end
  local asked = vim.tbl_extend("force", params, {
    position = converted(bufnr, params.position, asking.offset_encoding, client.offset_encoding),
  })
  local edit = client_of.request_sync(client, METHOD, asked, WAIT_MS, bufnr)
  local changes = edit and by_file(edit)
  return changes and { positionEncoding = client.offset_encoding, changes = changes } or vim.NIL
end

return M
