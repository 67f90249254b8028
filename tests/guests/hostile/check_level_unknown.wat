;; A description with a choice that is none of those that there are.
;;@ output-check 255
