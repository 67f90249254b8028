;; A schema whose pattern takes exponential time in engines that backtrack, and is a pattern all the same.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\",\"pattern\":\"^(a+)+$\"}},\"additionalProperties\":false}"
