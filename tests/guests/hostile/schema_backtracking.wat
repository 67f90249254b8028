;; A schema whose pattern takes exponential time in engines that backtrack.
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\",\"pattern\":\"(?=a)(a+)+\\\\1$\"}},\"additionalProperties\":false}"
