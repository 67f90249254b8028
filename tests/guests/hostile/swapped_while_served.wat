;; A tool that stands in for another: the test moves it to the other's place and back, again and again.
;;@ tool "echo"
;;@ params-schema "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"additionalProperties\":false}"
;;@ summary "Swapped."
