;; A toolpack that calls itself by another's name, and not by the one that policy knows it by.
;;@ toolpack "echo"
