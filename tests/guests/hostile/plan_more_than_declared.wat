;; Plans more outputs than its tool declares.
;;@ plan-most 5
