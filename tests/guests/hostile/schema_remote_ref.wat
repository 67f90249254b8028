;; A schema that would be fetched from elsewhere.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"https://example.org/x.json\"}},\"additionalProperties\":false}"
