(method name: (_) @name body: (_)? @body) @method
(singleton_method name: (_) @name body: (_)? @body) @method
(class name: (constant) @name body: (_)? @body) @class
(module name: (constant) @name body: (_)? @body) @class
(assignment left: (constant) @name) @constant
((call method: (identifier) @_require arguments: (argument_list (string))) @import
  (#match? @_require "^(require|require_relative|load)$"))
