;; A schema with a list of 100,000 values.
;;@ repeat:VALUES [100000, "{n},"]
;;@ pages 32
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"x\":{\"enum\":[<<VALUES>>0]}},\"additionalProperties\":false}"
