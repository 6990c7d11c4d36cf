(function_declaration name: (identifier) @name body: (_) @body) @function
(generator_function_declaration name: (identifier) @name body: (_) @body) @function
(class_declaration name: (identifier) @name body: (_) @body) @class
(method_definition name: (_) @name body: (_) @body) @method
(field_definition property: (_) @name) @field
(program (lexical_declaration (variable_declarator name: (identifier) @name) @constant))
(program (variable_declaration (variable_declarator name: (identifier) @name) @constant))
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @constant)))
(assignment_expression
  left: (member_expression property: (property_identifier) @name)
  right: [(function_expression body: (_) @body) (arrow_function body: (_) @body)]) @function
(import_statement) @import
(export_statement source: (string)) @import
(program (lexical_declaration
  (variable_declarator value: (call_expression function: (identifier) @_require))) @import
  (#eq? @_require "require"))
