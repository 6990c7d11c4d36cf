(method name: (_) @name) @method
(singleton_method name: (_) @name) @method
(class name: (constant) @name) @class
(module name: (constant) @name) @class
(assignment left: (constant) @name) @constant
((call method: (identifier) @_require arguments: (argument_list (string))) @import
  (#match? @_require "^(require|require_relative|load)$"))
