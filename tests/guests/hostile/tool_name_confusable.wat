;; A tool whose name looks like another's: its second letter is Cyrillic.
;;@ tool "f\u0430stq_stats"
