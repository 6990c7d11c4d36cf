--- The language server's client: starts it where it belongs, starts it again when it dies, and speaks to it.

local Backoff = require("tersely.backoff")
local config = require("tersely.config")
local status = require("tersely.status")

local api = vim.api

local M = {}

M.NAME = "tersely"
M.INLINE_COMPLETION = "textDocument/inlineCompletion"

local backoff = Backoff.new()
local started_s = {}
local leaving = false
--- Clients that were stopped on purpose.
local stopped = {}

local LEVELS = { vim.log.levels.ERROR, vim.log.levels.WARN, vim.log.levels.INFO, vim.log.levels.DEBUG }

--- What the server says goes where users have notifications shown.
local function on_message(_, params)
  vim.notify(params.message, LEVELS[params.type] or vim.log.levels.INFO)
end

--- Call a client's method in every version: they became methods in 0.11.
---@param client vim.lsp.Client
---@param method string
local function call(client, method, ...)
  if vim.fn.has("nvim-0.11") == 1 then
    return client[method](client, ...)
  end
  return client[method](...)
end

--- Ask. Returns the request's id, with which it can be cancelled; nil if it was not sent.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@param handler fun(err: table?, result: any)
---@param bufnr? integer
---@return integer?
function M.request(client, method, params, handler, bufnr)
  local sent, id = call(client, "request", method, params, handler, bufnr)
  return sent and id or nil
end

--- Ask, and wait for the answer; nil where there is none in time.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@param wait_ms integer
---@param bufnr integer
---@return any
function M.request_sync(client, method, params, wait_ms, bufnr)
  local answer = call(client, "request_sync", method, params, wait_ms, bufnr)
  return answer and answer.result
end

---@param client vim.lsp.Client
---@param id integer
function M.cancel(client, id)
  call(client, "cancel_request", id)
end

---@param client vim.lsp.Client
---@param method string
---@param params table
function M.notify(client, method, params)
  call(client, "notify", method, params)
end

--- The client that serves a buffer.
---@param bufnr integer
---@return vim.lsp.Client?
function M.of(bufnr)
  return vim.lsp.get_clients({ name = M.NAME, bufnr = bufnr })[1]
end

--- The settings as the server has them. Without any they are an empty object, which a Lua table does not tell itself.
local function server_settings()
  local settings = config.get().settings
  return { tersely = next(settings) and settings or vim.empty_dict() }
end

--- Tell all servers the settings as they are now.
function M.settings_changed()
  for _, client in ipairs(vim.lsp.get_clients({ name = M.NAME })) do
    client.settings = server_settings()
    M.notify(client, "workspace/didChangeConfiguration", { settings = client.settings })
  end
end

--- Whether a buffer holds a text that suggestions make sense in.
---@param bufnr integer
---@return boolean
local function wanted(bufnr)
  local types = config.get().filetypes
  local filetype = vim.bo[bufnr].filetype
  if vim.bo[bufnr].buftype ~= "" or filetype == "" then
    return false
  end
  return types == nil or vim.tbl_contains(types, filetype)
end

local on_exit

---@return vim.lsp.ClientConfig
local function client_config()
  local capabilities = vim.lsp.protocol.make_client_capabilities()
  capabilities.textDocument.inlineCompletion = { dynamicRegistration = false }
  capabilities.experimental = { tersely = { rename = true } }
  -- Every Neovim makes such changes, and none says so. Its own question before annotated ones is for all of a file or
  -- nothing of it, which would leave a renaming half done: what is to be looked at comes as a list instead. (Without a
  -- value, 0.12 would put its default there.)
  capabilities.workspace.workspaceEdit.documentChanges = true
  capabilities.workspace.workspaceEdit.changeAnnotationSupport = vim.NIL
  return {
    name = M.NAME,
    cmd = config.get().cmd,
    capabilities = capabilities,
    settings = server_settings(),
    init_options = server_settings(),
    handlers = {
      ["tersely/didChangeStatus"] = function(_, result)
        status.set(result)
      end,
      ["window/showMessage"] = on_message,
      ["tersely/rename"] = function(_, params, context)
        return require("tersely.rename").answer(params, vim.lsp.get_client_by_id(context.client_id))
      end,
    },
    on_init = function(client)
      started_s[client.id] = vim.uv.now() / 1000
    end,
    on_exit = on_exit,
  }
end

--- Start or join the server for a buffer.
---@param bufnr integer
local function start(bufnr)
  local whole = client_config()
  whole.root_dir = vim.fs.root(bufnr, config.get().root_markers)
  vim.lsp.start(whole, { bufnr = bufnr })
end

local function start_all()
  for _, bufnr in ipairs(api.nvim_list_bufs()) do
    if api.nvim_buf_is_loaded(bufnr) and wanted(bufnr) then
      start(bufnr)
    end
  end
end

on_exit = function(code, signal, client_id)
  local lived_s = vim.uv.now() / 1000 - (started_s[client_id] or vim.uv.now() / 1000)
  started_s[client_id] = nil
  status.reset()
  if leaving or stopped[client_id] or (code == 0 and signal == 0) then
    return
  end
  local wait_s = backoff:ended(lived_s)
  vim.schedule(function()
    if not wait_s then
      local message = "tersely: the server ended again and again. Look at :checkhealth tersely, then :Tersely restart."
      vim.notify(message, vim.log.levels.ERROR)
      return
    end
    vim.defer_fn(start_all, wait_s * 1000)
  end)
end

--- Stop the servers and start them again.
function M.restart()
  backoff:reset()
  for _, client in ipairs(vim.lsp.get_clients({ name = M.NAME })) do
    stopped[client.id] = true
    call(client, "stop", true)
  end
  vim.defer_fn(start_all, 100)
end

--- Neovim's own way to start servers by file type, from 0.11 on.
local function enable_native()
  local whole = client_config()
  whole.root_dir = function(bufnr, on_dir)
    if wanted(bufnr) then
      on_dir(vim.fs.root(bufnr, config.get().root_markers))
    end
  end
  vim.lsp.config(M.NAME, whole)
  vim.lsp.enable(M.NAME)
end

---@param group integer
local function enable_by_filetype(group)
  api.nvim_create_autocmd("FileType", {
    group = group,
    callback = function(event)
      if wanted(event.buf) then
        start(event.buf)
      end
    end,
  })
  start_all()
end

--- Have the server started for each buffer that wants it; `attached` is called with the client and the buffer.
---@param attached fun(client: vim.lsp.Client, bufnr: integer)
function M.enable(attached)
  local group = api.nvim_create_augroup("tersely.client", {})
  api.nvim_create_autocmd("LspAttach", {
    group = group,
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == M.NAME then
        attached(client, event.buf)
      end
    end,
  })
  api.nvim_create_autocmd("BufEnter", {
    group = group,
    callback = function(event)
      local client = M.of(event.buf)
      if client then
        M.notify(client, "textDocument/didFocus", { textDocument = { uri = vim.uri_from_bufnr(event.buf) } })
      end
    end,
  })
  api.nvim_create_autocmd("VimLeavePre", {
    group = group,
    callback = function()
      leaving = true
    end,
  })
  if vim.lsp.config then
    enable_native()
  else
    enable_by_filetype(group)
  end
end

return M
