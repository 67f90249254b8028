;; A schema that nests five thousand times, and is small.
;;@ repeat:OPEN [5000, "{\"not\":"]
;;@ repeat:CLOSE [5000, "}"]
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"x\":<<OPEN>>{}<<CLOSE>>},\"additionalProperties\":false}"
