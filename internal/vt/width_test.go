package vt

import "testing"

// What the table must say whatever it was made from.
func TestWidths(t *testing.T) {
	for text, want := range map[string]int{
		"a": 1, "é": 1, "e\u0301": 1, "漢": 2, "가": 2, "😀": 2, "👩": 2, "👩‍👩‍👧": 2, "🇩🇪": 2, "𠀀": 2, "𝐀": 1, "❤️": 2, "❤": 1, "👍🏽": 2, "ｱ": 1, "Ａ": 2,
	} {
		v := New(80, 2, Options{})
		v.Write([]byte(text))
		if x, _ := v.Cursor(); x != want {
			t.Errorf("%s takes %d columns, want %d", text, x, want)
		}
	}
}
