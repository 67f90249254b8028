;; A description that would fill a model's memory.
;;@ repeat:LONG [102400, "x"]
;;@ description "<<LONG>>"
