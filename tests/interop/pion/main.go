// A peer on pion/webrtc 4.2: the vocabulary of webrtc.py, in lines of JSON on stdin and stdout.
//
// What it does not do, as found by running it:
//
//   - As the one who answers, it is always "active" in DTLS, also in a later exchange after one in
//     which it has offered and become the server.
//   - It announces that it takes messages of 2**30 - 1 bytes, but one of 4 MB, more than its
//     receive window, never arrives, and nothing after it does.
//   - It takes packets without checksums only if told to: `zero_checksum` of `open`. Its limits of
//     lifetime and of retransmissions are 16 bits wide.
//   - There is no event "closing". `buffered` counts what is not acknowledged yet.
//   - It gives no answer to `rollback`, `restart_ice` and `candidate_errors`.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// ------------------------------------------------------------------------------------- waiting

// What callbacks and requests share is guarded by this; who waits looks again when it is told.
var (
	shared   sync.Mutex
	happened = sync.NewCond(&shared)
	started  = time.Now()
)

// Runs a function that changes something.
func change(function func()) {
	shared.Lock()
	defer shared.Unlock()
	function()
	happened.Broadcast()
}

// Waits for a condition; the caller holds the lock.
func until(condition func() bool) {
	for !condition() {
		happened.Wait()
	}
}

// ------------------------------------------------------------------------------------- payload

// The same bytes as pattern() in usrsctp.py.
func pattern(seed uint32, size int) []byte {
	const period = 4093
	x := seed
	if x == 0 {
		x = 0x9e3779b9
	}
	block := []byte{}
	for len(block) < min(size, period) {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		block = binary.LittleEndian.AppendUint32(block, x)
	}
	block = block[:min(size, period)]
	data := make([]byte, size)
	for start := 0; start < size; start += period {
		copy(data[start:], block)
	}
	return data
}

// As text: one character of ASCII for each byte.
func patternText(seed uint32, size int) string {
	data := pattern(seed, size)
	for index, value := range data {
		data[index] = 48 + value&63
	}
	return string(data)
}

type received struct {
	Kind   string  `json:"kind"`
	Size   int     `json:"size"`
	Sha256 string  `json:"sha256"`
	Text   *string `json:"text,omitempty"`
}

func record(message webrtc.DataChannelMessage) received {
	digest := sha256.Sum256(message.Data)
	told := received{Kind: "binary", Size: len(message.Data), Sha256: hex.EncodeToString(digest[:])}
	if message.IsString {
		told.Kind = "text"
		if text := string(message.Data); len([]rune(text)) <= 1000 {
			told.Text = &text
		}
	}
	return told
}

// Counts and sums the messages of a bulk transfer, at either end; see payload.py.
type bulk struct {
	Messages   uint32  `json:"messages"`
	Bytes      int     `json:"bytes"`
	Checksum   uint32  `json:"checksum"`
	OutOfOrder int     `json:"out_of_order"`
	Seconds    float64 `json:"seconds"`
	began      time.Time
}

func (b *bulk) take(data []byte) {
	if b.Messages == 0 {
		b.began = time.Now()
	}
	if len(data) < 4 || binary.BigEndian.Uint32(data) != b.Messages {
		b.OutOfOrder++
	}
	b.Messages++
	b.Bytes += len(data)
	b.Checksum += adler32.Checksum(data)
	b.Seconds = time.Since(b.began).Seconds()
}

// ------------------------------------------------------------------------------------- channels

type channel struct {
	key      string
	dc       *webrtc.DataChannel
	messages []received
	bulk     *bulk
	opens    int
	closes   int
	errors   []string
}

func newChannel(key string, dc *webrtc.DataChannel) *channel {
	made := &channel{key: key, dc: dc, messages: []received{}, errors: []string{}}
	dc.OnOpen(func() { change(func() { made.opens++ }) })
	dc.OnClose(func() { change(func() { made.closes++ }) })
	dc.OnError(func(err error) { change(func() { made.errors = append(made.errors, err.Error()) }) })
	dc.OnBufferedAmountLow(func() { change(func() {}) })
	dc.OnMessage(func(message webrtc.DataChannelMessage) {
		change(func() {
			if made.bulk != nil {
				made.bulk.take(message.Data)
			} else {
				made.messages = append(made.messages, record(message))
			}
		})
	})
	return made
}

func (c *channel) describe() map[string]any {
	return map[string]any{
		"channel":             c.key,
		"id":                  c.dc.ID(),
		"label":               c.dc.Label(),
		"protocol":            c.dc.Protocol(),
		"ordered":             c.dc.Ordered(),
		"max_retransmits":     c.dc.MaxRetransmits(),
		"max_packet_lifetime": c.dc.MaxPacketLifeTime(),
		"negotiated":          c.dc.Negotiated(),
		"state":               c.dc.ReadyState().String(),
		"buffered":            c.dc.BufferedAmount(),
		"received":            len(c.messages),
		"opens":               c.opens,
		"closings":            0,
		"closes":              c.closes,
		"errors":              c.errors,
	}
}

// Waits until no more than the threshold is to be sent, or never will be; without the lock.
func (c *channel) drained(threshold uint64) {
	c.dc.SetBufferedAmountLowThreshold(threshold)
	shared.Lock()
	defer shared.Unlock()
	until(func() bool {
		return c.dc.BufferedAmount() <= threshold || c.dc.ReadyState() != webrtc.DataChannelStateOpen
	})
}

// ------------------------------------------------------------------------------------- connections

type connection struct {
	pc         *webrtc.PeerConnection
	channels   map[string]*channel
	incoming   []*channel
	candidates []webrtc.ICECandidateInit
	taken      int
	gathered   bool
	states     [][]any
}

type stringOrList []string

func (s *stringOrList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*s = stringOrList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(s))
}

type params struct {
	Pc           string `json:"pc"`
	Channel      string `json:"channel"`
	ZeroChecksum bool   `json:"zero_checksum"`
	RelayOnly    bool   `json:"relay_only"`
	IceServers   []struct {
		Urls       stringOrList `json:"urls"`
		Username   string       `json:"username"`
		Credential string       `json:"credential"`
	} `json:"ice_servers"`

	Gather      bool                      `json:"gather"`
	IceRestart  bool                      `json:"ice_restart"`
	Description webrtc.SessionDescription `json:"description"`
	Candidate   *webrtc.ICECandidateInit  `json:"candidate"`
	Kind        string                    `json:"kind"`
	States      []string                  `json:"states"`

	Label             *string `json:"label"`
	Ordered           *bool   `json:"ordered"`
	MaxRetransmits    *uint16 `json:"max_retransmits"`
	MaxPacketLifetime *uint16 `json:"max_packet_lifetime"`
	Protocol          *string `json:"protocol"`
	Negotiated        *bool   `json:"negotiated"`
	ID                *uint16 `json:"id"`

	TextFlag  json.RawMessage `json:"text"`
	Base64    string          `json:"base64"`
	Size      int             `json:"size"`
	Seed      uint32          `json:"seed"`
	Count     *int            `json:"count"`
	Start     int             `json:"start"`
	Threshold uint64          `json:"threshold"`
	Total     int             `json:"total"`
	HighWater *uint64         `json:"high_water"`
	Bytes     int             `json:"bytes"`
}

func orDefault[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}

func open(p params) (*connection, error) {
	engine := webrtc.SettingEngine{}
	engine.EnableSCTPZeroChecksum(p.ZeroChecksum)
	configuration := webrtc.Configuration{}
	for _, server := range p.IceServers {
		configuration.ICEServers = append(configuration.ICEServers, webrtc.ICEServer{
			URLs: server.Urls, Username: server.Username, Credential: server.Credential,
		})
	}
	if p.RelayOnly {
		configuration.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(configuration)
	if err != nil {
		return nil, err
	}
	made := &connection{pc: pc, channels: map[string]*channel{}, states: [][]any{}}
	log := func(kind string, state fmt.Stringer) {
		change(func() {
			passed := time.Since(started).Milliseconds()
			made.states = append(made.states, []any{passed, kind, state.String()})
		})
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { log("connection", s) })
	pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) { log("ice", s) })
	pc.OnSignalingStateChange(func(s webrtc.SignalingState) { log("signaling", s) })
	pc.OnICEGatheringStateChange(func(s webrtc.ICEGatheringState) { log("gathering", s) })
	pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		change(func() {
			made.gathered = candidate == nil
			if candidate != nil {
				made.candidates = append(made.candidates, candidate.ToJSON())
			}
		})
	})
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		change(func() {
			appeared := newChannel(fmt.Sprintf("incoming-%d", len(made.incoming)), dc)
			made.incoming = append(made.incoming, appeared)
			made.channels[appeared.key] = appeared
		})
	})
	return made, nil
}

func (c *connection) state(kind string) string {
	switch kind {
	case "connection":
		return c.pc.ConnectionState().String()
	case "ice":
		return c.pc.ICEConnectionState().String()
	case "gathering":
		return c.pc.ICEGatheringState().String()
	case "signaling":
		return c.pc.SignalingState().String()
	}
	return "unknown kind " + kind
}

func (c *connection) describe(
	make func() (webrtc.SessionDescription, error), gather bool,
) (any, error) {
	description, err := make()
	if err != nil {
		return nil, err
	}
	complete := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(description); err != nil {
		return nil, err
	}
	if gather {
		<-complete
	}
	return c.pc.LocalDescription(), nil
}

func (c *connection) stats() any {
	side := func(found *webrtc.ICECandidate) any {
		return map[string]any{"type": found.Typ.String(), "address": found.Address}
	}
	told := map[string]any{"local": nil, "remote": nil}
	if sctp := c.pc.SCTP(); sctp != nil {
		told["max_message_size"] = sctp.GetCapabilities().MaxMessageSize
		pair, err := sctp.Transport().ICETransport().GetSelectedCandidatePair()
		if err == nil && pair != nil {
			told["local"], told["remote"] = side(pair.Local), side(pair.Remote)
		}
	}
	return told
}

// ------------------------------------------------------------------------------------- vocabulary

var connections = map[string]*connection{}

func getConnection(p params) (*connection, error) {
	shared.Lock()
	defer shared.Unlock()
	found, ok := connections[p.Pc]
	if !ok {
		return nil, fmt.Errorf("no connection %s", p.Pc)
	}
	return found, nil
}

func (c *connection) get(key string) (*channel, error) {
	shared.Lock()
	defer shared.Unlock()
	found, ok := c.channels[key]
	if !ok {
		return nil, fmt.Errorf("no channel %s", key)
	}
	return found, nil
}

func answer(method string, p params) (any, error) {
	if method == "open" {
		made, err := open(p)
		if err == nil {
			change(func() { connections[p.Pc] = made })
		}
		return nil, err
	}
	c, err := getConnection(p)
	if err != nil {
		return nil, err
	}
	switch method {
	case "close":
		return nil, c.pc.Close()
	case "offer":
		return c.describe(func() (webrtc.SessionDescription, error) {
			return c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: p.IceRestart})
		}, p.Gather)
	case "answer":
		return c.describe(func() (webrtc.SessionDescription, error) {
			return c.pc.CreateAnswer(nil)
		}, p.Gather)
	case "accept":
		return nil, c.pc.SetRemoteDescription(p.Description)
	case "add_candidate":
		return nil, c.pc.AddICECandidate(orDefault(p.Candidate, webrtc.ICECandidateInit{}))
	case "descriptions":
		return map[string]any{"local": c.pc.LocalDescription(), "remote": c.pc.RemoteDescription()}, nil
	case "next_candidates":
		shared.Lock()
		defer shared.Unlock()
		until(func() bool { return c.gathered || c.taken < len(c.candidates) })
		news := append([]webrtc.ICECandidateInit{}, c.candidates[c.taken:]...)
		c.taken = len(c.candidates)
		return map[string]any{"candidates": news, "complete": c.gathered}, nil
	case "wait_state":
		shared.Lock()
		defer shared.Unlock()
		until(func() bool { return slices.Contains(p.States, c.state(p.Kind)) })
		return c.state(p.Kind), nil
	case "states":
		shared.Lock()
		defer shared.Unlock()
		return append([][]any{}, c.states...), nil
	case "stats":
		return c.stats(), nil
	case "create_channel":
		dc, err := c.pc.CreateDataChannel(orDefault(p.Label, p.Channel), &webrtc.DataChannelInit{
			Ordered: p.Ordered, MaxPacketLifeTime: p.MaxPacketLifetime,
			MaxRetransmits: p.MaxRetransmits, Protocol: p.Protocol, Negotiated: p.Negotiated, ID: p.ID,
		})
		if err != nil {
			return nil, err
		}
		made := newChannel(p.Channel, dc)
		change(func() { c.channels[p.Channel] = made })
		return made.describe(), nil
	case "incoming":
		shared.Lock()
		defer shared.Unlock()
		until(func() bool { return len(c.incoming) >= orDefault(p.Count, 0) })
		all := []any{}
		for _, channel := range c.incoming {
			all = append(all, channel.describe())
		}
		return all, nil
	}
	found, err := c.get(p.Channel)
	if err != nil {
		return nil, err
	}
	return found.answer(method, p)
}

func (c *channel) answer(method string, p params) (any, error) {
	switch method {
	case "close_channel":
		defer change(func() {})
		return nil, c.dc.Close()
	case "send_text":
		var text string
		if err := json.Unmarshal(p.TextFlag, &text); err != nil {
			return nil, err
		}
		return nil, c.dc.SendText(text)
	case "send_binary":
		data, err := base64.StdEncoding.DecodeString(p.Base64)
		if err != nil {
			return nil, err
		}
		return nil, c.dc.Send(data)
	case "send_pattern":
		for index := range orDefault(p.Count, 1) {
			seed := p.Seed + uint32(index)
			var err error
			if string(p.TextFlag) == "true" {
				err = c.dc.SendText(patternText(seed, p.Size))
			} else {
				err = c.dc.Send(pattern(seed, p.Size))
			}
			if err != nil {
				return nil, err
			}
			c.drained(4 << 20)
		}
		return nil, nil
	case "drained":
		c.drained(p.Threshold)
		return nil, nil
	case "bulk_send":
		return c.bulkSend(p)
	}
	// What remains only looks at what has come.
	shared.Lock()
	defer shared.Unlock()
	switch method {
	case "channel":
		return c.describe(), nil
	case "wait_channel":
		until(func() bool {
			state := c.dc.ReadyState()
			told := state != webrtc.DataChannelStateOpen || c.opens > 0
			told = told && (state != webrtc.DataChannelStateClosed || c.closes > 0)
			return told && slices.Contains(p.States, state.String())
		})
		return c.describe(), nil
	case "received":
		until(func() bool { return len(c.messages) >= orDefault(p.Count, 0) })
		return append([]received{}, c.messages[p.Start:]...), nil
	case "bulk_receive":
		c.bulk = &bulk{}
		return nil, nil
	case "bulk_result":
		until(func() bool { return c.bulk.Bytes >= p.Bytes })
		result := *c.bulk
		c.bulk = nil
		return result, nil
	case "bulk_progress":
		if c.bulk == nil {
			return nil, nil
		}
		return *c.bulk, nil
	}
	return nil, errors.New("pion cannot " + method)
}

func (c *channel) bulkSend(p params) (any, error) {
	template := pattern(p.Seed, p.Size)
	sent := bulk{}
	highWater := orDefault(p.HighWater, 1<<20)
	for sent.Bytes < p.Total {
		message := append([]byte{}, template[:max(4, min(p.Size, p.Total-sent.Bytes))]...)
		binary.BigEndian.PutUint32(message, sent.Messages)
		if err := c.dc.Send(message); err != nil {
			return nil, err
		}
		sent.take(message)
		if c.dc.BufferedAmount() > highWater {
			c.drained(highWater / 2)
		}
	}
	c.drained(0)
	return sent, nil
}

// ------------------------------------------------------------------------------------- the program

var writing sync.Mutex

func write(message map[string]any) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	writing.Lock()
	defer writing.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func main() {
	write(map[string]any{"method": "ready", "params": map[string]any{}})
	input := bufio.NewReader(os.Stdin)
	for {
		line, err := input.ReadString('\n')
		if err != nil {
			return
		}
		var request struct {
			ID     int    `json:"id"`
			Method string `json:"method"`
			Params params `json:"params"`
		}
		if err := json.NewDecoder(strings.NewReader(line)).Decode(&request); err != nil {
			write(map[string]any{"id": request.ID, "error": map[string]any{"message": err.Error()}})
			continue
		}
		go func() {
			result, err := answer(request.Method, request.Params)
			if err != nil {
				message := fmt.Sprintf("%s: %v", request.Method, err)
				write(map[string]any{"id": request.ID, "error": map[string]any{"message": message}})
				return
			}
			write(map[string]any{"id": request.ID, "result": result})
		}()
	}
}
