(function_declaration name: (identifier) @name body: (_)? @body) @function
(method_declaration receiver: (parameter_list) @receiver name: (field_identifier) @name body: (_)? @body) @method
(type_declaration (type_spec name: (type_identifier) @name type: (_) @body) @class)
(type_declaration (type_alias name: (type_identifier) @name) @type)
(field_declaration name: (field_identifier) @name) @field
(method_elem name: (field_identifier) @name) @method
(source_file (const_declaration (const_spec name: (identifier) @name) @constant))
(source_file (var_declaration (var_spec name: (identifier) @name) @constant))
(import_spec) @import
