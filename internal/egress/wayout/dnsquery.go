package wayout

import (
	"golang.org/x/net/dns/dnsmessage"

	"staithe/internal/egress/policy"
)

// query is one question of the sandbox, read strictly.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	name     string           // of the question, as policy.CleanName has it, or as it came
	limit    int              // bytes that the asker takes by UDP
	edns     bool             // the asker speaks EDNS
	bad      dnsmessage.RCode // how to answer instead of asking on
}

// readQuery reads a query. ok is false for what is not one.
func readQuery(b []byte) (q query, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.Response {
		return q, false
	}
	q = query{header: h, limit: plainDNS}
	if h.OpCode != 0 {
		q.bad = dnsmessage.RCodeNotImplemented
		return q, true
	}
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		q.bad = dnsmessage.RCodeFormatError
		return q, true
	}
	q.question = questions[0]
	q.name = q.question.Name.String()
	if clean := policy.CleanName(q.name); clean != "" {
		q.name = clean
	}
	switch q.question.Type {
	case dnsmessage.TypeAXFR, 251: // zone transfers
		q.bad = dnsmessage.RCodeRefused
	}
	if q.question.Class != dnsmessage.ClassINET {
		q.bad = dnsmessage.RCodeRefused
	}
	q.readEDNS(&p)
	return q, true
}

// readEDNS finds how much the asker takes. What cannot be read counts as not
// said.
func (q *query) readEDNS(p *dnsmessage.Parser) {
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.limit = min(max(int(h.Class), plainDNS), maxUDPAnswer)
			return
		}
		if p.SkipAdditional() != nil {
			return
		}
	}
}

// failure is an answer without records.
func (q query) failure(code dnsmessage.RCode) []byte {
	m := &dnsmessage.Message{Header: dnsmessage.Header{RCode: code}}
	return q.pack(m, plainDNS)
}

// pack makes an answer of a message: our header, the asker's question, and
// records as far as they fit.
func (q query) pack(m *dnsmessage.Message, limit int) []byte {
	m.Header = dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, RCode: m.RCode & 0xf,
	}
	m.Questions = nil
	if q.question.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.question}
	}
	m.Additionals = nil
	if q.edns {
		m.Additionals = []dnsmessage.Resource{ednsRecord()}
	}
	b, err := m.Pack()
	if err == nil && len(b) <= limit {
		return b
	}
	// Too long: the asker comes again by TCP. (Or not to be packed, which ends
	// the same way, at a message that is.)
	m.Truncated = err == nil
	if err != nil {
		m.RCode = dnsmessage.RCodeServerFailure
	}
	m.Answers, m.Authorities = nil, nil
	b, err = m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// ednsRecord says what we take by UDP (RFC 6891).
func ednsRecord() dnsmessage.Resource {
	r := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	r.Header.Name = dnsmessage.MustNewName(".")
	// The error is of response codes that do not fit; 0 does.
	_ = r.Header.SetEDNS0(maxUDPAnswer, dnsmessage.RCodeSuccess, false)
	return r
}
