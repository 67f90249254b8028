;; One pattern that stands in the schema once, and holds a hundred times.
;;@ repeat:MORE [99, ",{\"$ref\":\"#/$defs/p\"}"]
;;@ params-schema "{\"type\":\"object\",\"$defs\":{\"p\":{\"not\":{\"pattern\":\"(a?[ab]){0,9}[^ab]\"}}},\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#/$defs/p\"}<<MORE>>]}},\"additionalProperties\":false}"
