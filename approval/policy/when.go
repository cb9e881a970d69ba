package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"jit-gateway/internal/identity"
)

const (
	maxWhen  = 2000   // characters of an expression
	whenCost = 20_000 // CEL cost units of one evaluation; a plain comparison is 1 or 2
)

// What expressions see. The types make a misspelt field an error at load.
type (
	celUser struct {
		Name    string   `cel:"name"`
		Kind    string   `cel:"kind"`
		Machine bool     `cel:"machine"`
		Groups  []string `cel:"groups"`
		Owner   string   `cel:"owner"`
	}
	celTarget struct {
		Name   string            `cel:"name"`
		Kind   string            `cel:"kind"`
		Labels map[string]string `cel:"labels"`
		Owners []string          `cel:"owners"`
	}
	celRequest struct {
		Login      string        `cel:"login"`
		Reason     string        `cel:"reason"`
		Ticket     string        `cel:"ticket"`
		Duration   time.Duration `cel:"duration"`
		Start      time.Time     `cel:"start"`
		Scheduled  bool          `cel:"scheduled"`
		BreakGlass bool          `cel:"break_glass"`
	}
	celHistory struct {
		Requests30d int64 `cel:"requests_30d"`
		Denials7d   int64 `cel:"denials_7d"`
		Sessions30d int64 `cel:"sessions_30d"`
		OnTarget30d int64 `cel:"on_target_30d"`
		Failures1h  int64 `cel:"failures_1h"`
	}
)

// celEnv is built once: it takes milliseconds.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true),
			reflect.TypeFor[celUser](), reflect.TypeFor[celTarget](), reflect.TypeFor[celRequest](), reflect.TypeFor[celHistory]()),
		ext.Strings(),
		cel.Variable("user", cel.ObjectType("policy.celUser")),
		cel.Variable("target", cel.ObjectType("policy.celTarget")),
		cel.Variable("request", cel.ObjectType("policy.celRequest")),
		cel.Variable("history", cel.ObjectType("policy.celHistory")),
		cel.Variable("now", cel.TimestampType),
		cel.Variable("source", cel.StringType),
		cel.Variable("risk", cel.ListType(cel.StringType)),
		cel.Function("inNetwork",
			cel.Overload("in_network_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
				cel.BinaryBinding(inNetwork))),
		cel.ParserExpressionSizeLimit(maxWhen),
		cel.ParserRecursionLimit(50),
	)
})

// inNetwork is inNetwork(source, "10.0.0.0/8"). What it cannot read is an error, and so denies.
func inNetwork(addr, network ref.Val) ref.Val {
	a, err := netip.ParseAddr(string(addr.(types.String)))
	if err != nil {
		return types.NewErr("inNetwork: %q is not an address", string(addr.(types.String)))
	}
	p, err := netip.ParsePrefix(string(network.(types.String)))
	if err != nil {
		return types.NewErr("inNetwork: %q is not a network", string(network.(types.String)))
	}
	return types.Bool(p.Contains(a.Unmap()))
}

// when is a compiled expression.
type when struct{ program cel.Program }

func compileWhen(text string) (*when, error) {
	if len(text) > maxWhen {
		return nil, fmt.Errorf("longer than %d characters", maxWhen)
	}
	env, err := celEnv()
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	ast, iss := env.Compile(text)
	if err := iss.Err(); err != nil {
		return nil, fmt.Errorf("not a valid expression: %s", oneLine(err))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("gives %s, must give true or false", ast.OutputType())
	}
	p, err := env.Program(ast, cel.CostLimit(whenCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("not a valid expression: %s", oneLine(err))
	}
	return &when{p}, nil
}

// eval evaluates the expression. Every failure, also reaching the cost limit
// or a panic in the evaluator, is an error; callers deny on it.
func (w *when) eval(in Input) (ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			ok, err = false, fmt.Errorf("when: evaluation failed")
		}
	}()
	source := ""
	if in.Source.IsValid() {
		source = in.Source.Unmap().String()
	}
	out, _, err := w.program.Eval(map[string]any{
		"user": celUser{Name: in.User.Name, Kind: string(in.User.Kind), Machine: in.User.Kind == identity.Machine,
			Groups: in.User.Groups, Owner: in.User.Owner},
		"target": celTarget{Name: in.Target.Name, Kind: string(in.Target.Kind), Labels: in.Target.Labels, Owners: in.Target.Owners},
		"request": celRequest{Login: in.Login, Reason: in.Reason, Ticket: in.Ticket, Duration: in.Duration,
			Start: in.at(), Scheduled: !in.StartAt.IsZero(), BreakGlass: in.BreakGlass},
		"history": celHistory{int64(in.History.Requests30d), int64(in.History.Denials7d), int64(in.History.Sessions30d),
			int64(in.History.OnTarget30d), int64(in.History.Failures1h)},
		"now":    in.Now,
		"source": source,
		"risk":   in.Risk,
	})
	if err != nil {
		return false, fmt.Errorf("when: %s", oneLine(err))
	}
	b, isBool := out.Value().(bool)
	if !isBool {
		return false, fmt.Errorf("when: gave no true or false")
	}
	return b, nil
}

// oneLine is the first line of an error: CEL draws the source with a caret beneath.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "ERROR: <input>:"))
}
