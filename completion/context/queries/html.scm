((attribute (attribute_name) @_id (quoted_attribute_value (attribute_value) @name)) @constant
  (#eq? @_id "id"))
((attribute (attribute_name) @_link (quoted_attribute_value (attribute_value))) @import
  (#match? @_link "^(src|href)$"))
