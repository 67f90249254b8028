;; A schema that refers to itself without end.
;;@ each ["#", "#/$defs/a"]
;;@ params-schema "{\"type\":\"object\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/a\"}},\"properties\":{\"x\":{\"$ref\":\"<<each>>\"}},\"additionalProperties\":false}"
