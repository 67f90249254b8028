;; An output whose name, as people would see it, is a path, no name, or not what it looks like.
;;@ each ["a/b.txt", "..", "a\\u0000b", "\\u202egpj.txt", "<<LONG>>"]
;;@ repeat:LONG [1024, "x"]
;;@ label "<<each>>"
