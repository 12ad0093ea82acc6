package vt

import (
	"encoding/base64"
	"strings"
)

// notice is a message of OSC 99 that comes in several parts.
type notice struct{ id, title, body string }

// notify is a message to the person: OSC 9;text (iTerm2), OSC 777;notify;title;body
// (urxvt), OSC 99;metadata;text (kitty). OSC 9;4 is a progress bar and no message.
func (t *Terminal) notify(id int, text string) {
	if t.o.Notify == nil {
		return
	}
	switch id {
	case 9:
		if text != "" && text != "4" && !strings.HasPrefix(text, "4;") {
			t.o.Notify("", shortened(text))
		}
	case 777:
		if rest, ok := strings.CutPrefix(text, "notify;"); ok {
			title, body, _ := strings.Cut(shortened(rest), ";")
			t.o.Notify(title, body)
		}
	case 99:
		t.notifyKitty(text)
	}
}

// notifyKitty is OSC 99: a title, a body, or a part of one, of the message i; with d=0
// more comes. Buttons, icons and the rest are left out.
func (t *Terminal) notifyKitty(text string) {
	metadata, payload, ok := strings.Cut(text, ";")
	if !ok {
		return
	}
	keys := map[string]string{"d": "1", "p": "title"}
	for pair := range strings.SplitSeq(metadata, ":") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			keys[k] = v
		}
	}
	if keys["e"] == "1" {
		decoded, err := base64.StdEncoding.DecodeString(payload)
		if err != nil {
			return
		}
		payload = strings.ToValidUTF8(string(decoded), "")
	}
	n := &t.notice
	if id := shortened(keys["i"]); n.id != id {
		*n = notice{id: id}
	}
	switch keys["p"] {
	case "close":
		*n = notice{}
		return
	case "?", "alive":
		return
	case "title":
		n.title = shortened(n.title + payload)
	case "body":
		n.body = shortened(n.body + payload)
	}
	if keys["d"] == "0" {
		return
	}
	title, body := n.title, n.body
	*n = notice{}
	if body == "" { // a short message is a title alone
		title, body = "", title
	}
	if body != "" {
		t.o.Notify(title, body)
	}
}
