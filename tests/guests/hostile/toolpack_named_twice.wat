;; A toolpack with the name of one that is offered already, and other bytes.
;;@ toolpack "echo"
;;@ tool "other"
