package project_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a public package exports, every user can name: no parameter, result, field, method or
// variable of it has a type from an internal package. A function that only our own tests can call
// is reached as internal/ondisk shows.
func TestNoInternalTypesInExports(t *testing.T) {
	for _, folder := range modules(t) {
		if folder == "internal" || strings.HasPrefix(folder, "internal/") || strings.HasPrefix(folder, "examples/") {
			continue
		}
		files := strings.Fields(goCommand(t, folder, "list", "-f",
			`{{$p := .}}{{if ne .Name "main"}}{{range .GoFiles}}{{$p.ImportPath}}:{{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .IgnoredGoFiles}}{{$p.ImportPath}}:{{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}`, "./..."))
		for _, line := range files {
			pkg, name, _ := strings.Cut(line, ":")
			if strings.HasSuffix(name, "_test.go") || strings.Contains(pkg, "/internal/") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			require.Emptyf(t, internalTypes(f), "%s exports what has an internal type", filepath.ToSlash(name))
		}
	}
}

// internalTypes returns the names from internal packages that the exported declarations of a file have
// in their types. It changes the file.
func internalTypes(f *ast.File) (found []string) {
	internal := map[string]bool{}
	for _, imported := range f.Imports {
		p, _ := strconv.Unquote(imported.Path.Value)
		name := path.Base(p)
		if imported.Name != nil {
			name = imported.Name.Name
		}
		internal[name] = strings.Contains(p+"/", "/internal/")
	}
	ast.FileExports(f)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt: // a function's body
			return false
		case *ast.ValueSpec: // only its type, not its value
			if n.Type != nil {
				found = append(found, internalIn(n.Type, internal)...)
			}
			return false
		case ast.Expr:
			found = append(found, internalIn(n, internal)...)
			return false
		}
		return true
	})
	return found
}

func internalIn(e ast.Expr, internal map[string]bool) (found []string) {
	ast.Inspect(e, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && internal[x.Name] {
				found = append(found, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return found
}

func TestInternalTypes(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x

import (
	"io"

	"example.org/x/internal/a"
	b "example.org/internal"
)

var Var, other = a.Value(), 1
var Typed map[string]a.Var
type Alias = a.Alias
type Struct struct {
	Field func(...b.Field) io.Reader
	field a.Hiding
	a.Embedded
}
type Interface interface {
	Method() chan<- a.Result
	method(a.Hiding)
}
type hidden struct{ Field a.Hiding }
func (*Struct) Method(x []*a.Method) { var _ a.Hiding }
func (*Struct) method(a.Hiding) {}
func (hidden) Method(a.Hidden) {} // hidden may be embedded
func Func[T a.Constraint](x T) (struct{ y a.Inner }, error) { panic(a.Hiding{}) }
func hide(a.Hiding) {}
`, parser.SkipObjectResolution)
	require.NoError(t, err)
	require.Equal(t, []string{
		"a.Var", "a.Alias", "b.Field", "a.Embedded", "a.Result", "a.Method", "a.Hidden", "a.Constraint", "a.Inner",
	}, internalTypes(f))
}
