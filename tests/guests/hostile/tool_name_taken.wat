;; A tool with the name of one that is offered already.
;;@ tool "echo"
