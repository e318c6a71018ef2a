;;; acepilot.el --- Acepilot's completions through eglot -*- lexical-binding: t -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1") (eglot "1.9"))
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; (require 'acepilot)
;; (acepilot-use-in 'python-mode 'js-mode)
;; (add-hook 'python-mode-hook #'eglot-ensure)
;;
;; Completions are candidates of `completion-at-point'.  How Acepilot is: M-x acepilot-status.

;;; Code:

(require 'cl-lib)
(require 'eglot)

(defgroup acepilot nil "Private code completion." :group 'tools)

(defcustom acepilot-command '("acepilot-lsp")
  "The language server: a program and its arguments."
  :type '(repeat string))

(defvar acepilot--status nil
  "What the language server told last: a list of state, message and reason.")

(defun acepilot-use-in (&rest modes)
  "Let eglot start Acepilot in MODES.
Eglot has one server for a mode: this one takes the place of another."
  (dolist (mode modes)
    (setf (alist-get mode eglot-server-programs nil nil #'equal) acepilot-command)))

(cl-defmethod eglot-handle-notification
  (_server (_method (eql 'acepilot/status)) &key state message reason &allow-other-keys)
  "Remember how Acepilot is; say so when it is in trouble."
  (let ((is-new (not (equal message (nth 1 acepilot--status)))))
    (setq acepilot--status (list state message reason))
    (when (and is-new (member state '("off" "unauthorized" "error")))
      (display-warning 'acepilot message))))

(defun acepilot-status ()
  "Tell how Acepilot is, and why the last request was answered as it was."
  (interactive)
  (pcase acepilot--status
    ('nil (message "Acepilot: not started; M-x eglot starts it in a mode given to `acepilot-use-in'"))
    (`(,state ,message ,reason)
     (message "Acepilot: %s" (string-join (seq-remove #'string-empty-p (list state message reason)) "; ")))))

(provide 'acepilot)
;;; acepilot.el ends here
