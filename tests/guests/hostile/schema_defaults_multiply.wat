;; A default holds objects whose members have defaults in their turn: a short schema fills in without end.
;;@ repeat:LEVELS [9, ",\"d{n}\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"array\",\"default\":[{},{},{},{},{},{},{},{}],\"items\":{\"$ref\":\"#/$defs/d{p}\"}}}}"]
;;@ params-schema "{\"type\":\"object\",\"$defs\":{\"d0\":{\"type\":\"object\"}<<LEVELS>>},\"properties\":{\"x\":{\"$ref\":\"#/$defs/d9\",\"default\":{}}},\"additionalProperties\":false}"
