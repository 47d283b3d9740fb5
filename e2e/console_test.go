//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// chromium is where Debian installs it; SURETY_CHROMIUM names another.
const chromium = "/usr/bin/chromium"

// pageLimit is how long a page may take to show what a test waits for.
const pageLimit = 20 * time.Second

// browser is one tab of a fresh Chromium, on the console of a node.
type browser struct {
	t    *testing.T // the step under way
	node *node
	tab  context.Context
	loan string // id of the one that was applied for

	tokens map[string]string // of people who may release a freeze, by name

	mu       sync.Mutex
	problems []string // what the page complained of
}

// openBrowser starts Chromium; it fails where there is none, since the console is promised.
func openBrowser(t *testing.T, n *node) *browser {
	t.Helper()
	path := os.Getenv("SURETY_CHROMIUM")
	if path == "" {
		path = chromium
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the console is tested in Chromium: %v; apt-get install chromium", err)
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true))
	t.Cleanup(cancel)
	tab, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(cancelTab)
	b := &browser{t: t, node: n, tab: tab}
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	messages := chromedp.Console(tab)
	go func() {
		for message, err := range messages {
			if err != nil {
				return
			}
			// The log knows of an act a moment after it; until then its trace is not found.
			early := strings.HasSuffix(message.URL, "/Trace") && strings.Contains(message.Text, "404")
			if message.IsException() || message.Type == chromedp.ConsoleError && !early {
				b.mu.Lock()
				b.problems = append(b.problems, message.Text+" "+message.URL)
				b.mu.Unlock()
			}
		}
	}()
	return b
}

// do runs steps in the tab; on failure the page is told and pictured.
func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, pageLimit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.picture("failed")
		text, _ := chromedp.Run(b.tab, chromedp.Evaluate[string](`document.body.innerText`))
		b.t.Fatalf("%s: %v\nthe page:\n%s\nthe node:\n%s", what, err, text, b.node.output)
	}
}

// open goes to a page by its address after the hash.
func (b *browser) open(page string) {
	b.t.Helper()
	b.do("open "+page, chromedp.Navigate("about:blank"), chromedp.Navigate(b.node.url("/#"+page)))
}

// until waits for a JavaScript condition to hold.
func (b *browser) until(what, condition string) {
	b.t.Helper()
	b.do("wait until "+what, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			holds, err := chromedp.Evaluate[bool]("Boolean("+condition+")")(ctx, t)
			if err != nil || holds {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("not in %s: %s", pageLimit, condition)
			}
		}
	}))
}

// says waits until the page shows the words.
func (b *browser) says(words string) {
	b.t.Helper()
	quoted, _ := json.Marshal(words)
	b.until("it says "+words, "document.body.innerText.includes("+string(quoted)+")")
}

// text returns the value of a JavaScript expression.
func (b *browser) text(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, pageLimit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// write types into a field, as a person would.
func (b *browser) write(name, value string) {
	b.t.Helper()
	field := "main [name=" + name + "]"
	b.do("type into "+name, chromedp.Click(field), chromedp.SendKeys(field, value))
}

// choose picks an option, with the events that a person's choice makes.
func (b *browser) choose(name, value string) {
	b.t.Helper()
	b.do("choose "+name, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		`(field => { field.focus(); field.value = %q;
		field.dispatchEvent(new Event("change", {bubbles: true})); })
		(document.querySelector("main [name=%s]"))`, value, name)))
}

// press clicks the button or link of the page with the words.
func (b *browser) press(words string) {
	b.t.Helper()
	found := fmt.Sprintf(`[...document.querySelectorAll("main button, main a, main summary")].find(
		known => known.textContent.trim() === %q)`, words)
	b.until("there is "+words, found)
	b.do("press "+words, chromedp.Evaluate[chromedp.Void]("("+found+").click()"))
}

// picture keeps what the tab shows, where SURETY_SHOTS names a folder.
func (b *browser) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("SURETY_SHOTS")
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.tab, pageLimit)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o644)
	}
	if err != nil {
		b.t.Logf("no picture of %s: %v", name, err)
	}
}

// look sets the size of the window and the scheme of colours.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	var options []chromedp.EmulateViewportOption
	if width < 600 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.do("look", chromedp.EmulateViewport(width, 900, options...),
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return err
		}))
}

// quiet fails where a page complained: an exception, a breach of its policy, a failed load.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		b.t.Errorf("the console of the browser says:\n%s", strings.Join(b.problems, "\n"))
	}
	b.problems = nil
}

// TestConsole goes through the console as a person would: applies for a loan, follows it to its
// postings and its proof, repays, freezes money alone and releases it with another, and looks at the
// board; then on a phone, in the dark, by keyboard, and after a breach.
func TestConsole(t *testing.T) {
	n := startNode(t, t.TempDir(), "--rate", "5")
	b := openBrowser(t, n)
	b.tokens = make(map[string]string)
	for _, name := range []string{"ann", "bob"} {
		b.tokens[name] = strings.TrimSpace(run(t, n.dir, 0, "access", "token", "create",
			"--name", name, "--role", "operator", "--role", "risk"))
	}
	b.look(1280, "light")
	for _, step := range []struct {
		name string
		do   func(b *browser)
	}{
		{"apply", (*browser).apply}, {"follow", (*browser).follow}, {"repay", (*browser).repay},
		{"freeze", (*browser).freeze}, {"live", (*browser).live}, {"sizes", (*browser).sizes},
		{"keyboard", (*browser).keyboard}, {"breach", (*browser).breach},
	} {
		t.Run(step.name, func(t *testing.T) {
			b.t = t
			step.do(b)
		})
	}
}

// live wants numbers that move, tiles that are fresh, and the label on what is made up.
func (b *browser) live() {
	b.open("/")
	b.says("Synthetic applications.")
	b.until("invariants are shown", `document.querySelectorAll(".tile").length >= 3`)
	const counted = `Number([...document.querySelectorAll(".figure")].find(f =>
		f.querySelector(".words").textContent === "applications")
		?.querySelector(".value").textContent.replaceAll(",", ""))`
	b.until("applications came in", counted+" > 0")
	before := b.text(counted)
	b.until("more applications came in", counted+" > "+before)
	b.until("the guard is green", `document.querySelector(".health .pill.good")`)
	b.says("debits equal credits")
	b.until("the latest applications are listed",
		`document.querySelectorAll("a[href^='#/application/']").length >= 5`)
	b.picture("board")
	b.quiet()
}

// apply fills in the form, wrong first and then right, and goes on to the loan.
func (b *browser) apply() {
	b.open("/apply")
	b.says("Apply for a loan")
	b.until("the form is there", `document.querySelectorAll("form.apply [name]").length >= 12`)
	b.press("Apply")
	b.until("every field says what it wants", `document.querySelectorAll(".wrong").length === 12`)
	b.until("the first one has the focus", `document.activeElement.name === "name"`)
	for _, field := range [][2]string{{"name", `Wei "<b>Noodles</b>" Li`}, {"idNumber", "E2E-20480017"},
		{"phone", "+86 138-0013-8000"}, {"businessName", "Noodles & Sons"}, {"monthsInBusiness", "84"},
		{"employees", "6"}, {"monthlyTurnover", "180,000"}, {"existingDebt", "0"}, {"amount", "12,000"}} {
		b.write(field[0], field[1])
	}
	b.choose("termMonths", "12")
	b.choose("purpose", "stock")
	b.do("consent", chromedp.Click("[name=consent]"))
	b.until("nothing is wrong any more", `document.querySelectorAll(".wrong").length === 0`)
	b.says("CNY a month, 12 times")
	b.picture("apply")
	b.press("Apply")
	b.says("Approved")
	b.says("the money is in the account")
	b.says("APR, effective")
	b.until("the schedule is whole", `document.querySelectorAll(".outcome tbody tr").length === 12`)
	b.picture("outcome")
	b.press("Open the loan")
	b.until("the loan opens", `location.hash.startsWith("#/loan/")`)
	b.loan = strings.TrimPrefix(b.text("location.hash"), "#/loan/")
	b.quiet()
}

// follow wants the whole path on the loan's page: a score that adds up, the contract, the postings
// of the disbursement, and a trace whose every step is proved.
func (b *browser) follow() {
	b.open("/loan/" + b.loan)
	b.says("outstanding principal")
	b.until("both scores add up", `document.querySelectorAll(".sum .pill.good").length === 2`)
	b.until("no score is off", `document.querySelectorAll(".sum .pill.bad").length === 0`)
	b.says("loan disbursed")
	for _, posting := range []string{"limit granted", "limit reserved", "paid into the account",
		"customer deposit", "disbursement clearing"} {
		b.says(posting)
	}
	const steps, proved = `document.querySelectorAll(".trace li").length`,
		`document.querySelectorAll(".trace .proved").length`
	b.until("the trace is told and proved", fmt.Sprintf("%s >= 4 && %s === %s", steps, proved, steps))
	b.press("Replay the decision")
	b.says("equal, bit for bit")
	if markup := b.text(`document.querySelectorAll("main b b, main noodles").length`); markup != "0" {
		b.t.Error("what the applicant wrote became markup")
	}
	b.picture("loan")
	if out := run(b.t, b.node.dir, 0, "trace", b.loan); !strings.Contains(out, "loan.disbursed") {
		b.t.Errorf("surety trace, which the page names, does not tell of the disbursement:\n%s", out)
	}
	b.quiet()
}

// repay pays twice under one reference: the money moves once.
func (b *browser) repay() {
	b.open("/loan/" + b.loan)
	b.until("it can be repaid", `document.querySelector("form[aria-label=Repay]")`)
	for _, said := range []string{"Taken: ", "nothing moved"} {
		b.write("amount", "100.00")
		b.write("reference", "E2E-1")
		b.press("Repay")
		b.says(said)
	}
	b.until("the repayment is an event", `[...document.querySelectorAll(".timeline b")].filter(
		kind => kind.textContent === "loan repaid").length === 1`)
	b.says("repayment received")
	b.press("What closes it today?")
	b.until("it is quoted", `[...document.querySelectorAll("main [role=status]")].some(
		said => said.textContent.includes("principal"))`)
	b.quiet()
}

// freeze stops the customer's deposit, which anyone who may act here can, and releases it, which
// takes two people of role risk.
func (b *browser) freeze() {
	b.open("/account/" + b.account("customer deposit"))
	b.says("debits must not exceed credits")
	b.says("paid into the account")
	b.do("go to freeze it", chromedp.Evaluate[chromedp.Void](
		`[...document.querySelectorAll("main a")].find(a => a.textContent === "freeze").click()`))
	b.says("You are local")
	b.says("Nothing is frozen.")
	b.press("Freeze")
	b.says("Say why, in a sentence.")
	b.write("reason", "a drill of the console")
	b.press("Freeze")
	b.says("Frozen: ")
	b.says("in force")
	b.become("ann")
	b.write("release", "the drill is over")
	b.press("Request release")
	b.says("release requested")
	b.press("Release")
	b.says("a second person must confirm it")
	b.press("Forget it")
	b.says("You are local")
	b.press("Release")
	b.says("permission_denied")
	b.picture("freezes")
	b.become("bob")
	b.press("Release")
	b.says("Nothing is frozen.")
	b.press("Forget it")
	b.says("You are local")
	b.mu.Lock()
	b.problems = nil // the refusals above are also told in the browser's console
	b.mu.Unlock()
}

// become enters the token of a person.
func (b *browser) become(name string) {
	b.t.Helper()
	b.do("open the field", chromedp.Evaluate[chromedp.Void](
		`document.querySelector(".identity details").open = true`))
	b.write("token", b.tokens[name])
	b.press("Use it")
	b.says("You are " + name)
}

// account returns the id of the account of a class that the loan's postings touch.
func (b *browser) account(class string) string {
	b.t.Helper()
	b.open("/loan/" + b.loan)
	found := fmt.Sprintf(`[...document.querySelectorAll("td")].find(cell =>
		cell.textContent.endsWith(%q))?.querySelector("a")`, class)
	b.until("the "+class+" is linked", found)
	return b.text(found + ".title")
}

// breach moves money behind the lending service's back. The board turns red and leads to both
// records; a person says what it was, two release what the guard froze, and the board is green.
func (b *browser) breach() {
	b.open("/breaches")
	b.says("No breaches.")
	run(b.t, b.node.dir, 0, "ledger", "transfer", "--debit", b.account("customer deposit"),
		"--credit", b.account("deferred fee"), "--amount", "777", "--ledger", "156", "--code", "22")
	b.open("/")
	b.until("the guard is red", `document.querySelector(".health .pill.bad")`)
	b.until("a tile is broken", `document.querySelector(".tile.bad")`)
	b.picture("red")
	const link = `document.querySelector("main a[href^='#/breach/']")`
	b.until("the breach is linked", link)
	b.do("open the breach", chromedp.Evaluate[chromedp.Void](link+".click()"))
	b.says("posting without an event")
	b.says("7.77")
	b.until("what differs is marked", `document.querySelectorAll("tr.differs").length > 0`)
	b.until("the freeze is shown", `document.querySelector(".freeze .pill.warn")`)
	b.picture("breach")
	b.press("False alarm")
	b.says("Say why, in a sentence.")
	b.write("note", "planted by a test")
	b.press("False alarm")
	b.until("it is resolved", `!document.querySelector("[name=note]")`)
	b.become("ann")
	b.write("release", "the posting was planted")
	b.press("Request release")
	b.says("release requested")
	b.become("bob")
	b.press("Release")
	b.says("is no longer in force")
	b.open("/")
	b.until("the guard is green", `document.querySelector(".health .pill.good")`)
	b.quiet()
}

// sizes wants no page to be wider than a small phone, and the dark to be dark.
func (b *browser) sizes() {
	pages := []string{"/", "/apply", "/applications", "/loans", "/loan/" + b.loan, "/breaches",
		"/freezes", "/accounts", "/nowhere"}
	luminance := make(map[string]string)
	for _, scheme := range []string{"light", "dark"} {
		b.look(360, scheme)
		for _, page := range pages {
			b.open(page)
			b.until(page+" is drawn", `document.querySelector("main h1") &&
				!document.querySelector("main [aria-busy]")`)
			if width := b.text(`document.documentElement.scrollWidth`); width != "360" {
				b.t.Errorf("%s is %s pixels wide on a phone of 360", page, width)
			}
			b.picture(fmt.Sprintf("phone-%s-%s", scheme, strings.ReplaceAll(page, "/", "_")))
		}
		luminance[scheme] = b.text(`getComputedStyle(document.body).backgroundColor`)
	}
	if luminance["light"] == luminance["dark"] {
		b.t.Errorf("the page is %s in the light and in the dark", luminance["dark"])
	}
	b.look(1280, "light")
	b.do("choose the dark", chromedp.Evaluate[chromedp.Void](
		`[1, 2].forEach(() => document.querySelector("button.theme").click())`))
	b.until("the choice wins", fmt.Sprintf(
		`getComputedStyle(document.body).backgroundColor === %q`, luminance["dark"]))
	b.do("reload", chromedp.Reload())
	b.until("the choice is kept", fmt.Sprintf(
		`getComputedStyle(document.body).backgroundColor === %q`, luminance["dark"]))
	b.quiet()
}

// keyboard wants the first stop to be the way past the bar, and the focus to be seen.
func (b *browser) keyboard() {
	b.open("/")
	b.until("the board is drawn", `document.querySelector(".figure")`)
	b.do("tab", chromedp.KeyEvent("\t"))
	b.until("the first stop skips the bar", `document.activeElement.className === "skip"`)
	b.until("the focus is seen", `getComputedStyle(document.activeElement).outlineStyle !== "none"`)
	b.do("follow it", chromedp.KeyEvent("\r"))
	b.until("the page has the focus", `document.activeElement.tagName === "MAIN"`)
}

// TestConsoleInSilence holds the node still: nothing may stay green. Then it goes on, and so does
// the page. Nothing is under way while it stands, since an act cut in two by it would be a breach.
func TestConsoleInSilence(t *testing.T) {
	b := openBrowser(t, startNode(t, t.TempDir(), "--rate", "0"))
	b.open("/")
	b.until("the guard is green", `document.querySelector(".health .pill.good")`)
	b.quiet()
	process := b.node.command.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = process.Signal(syscall.SIGCONT) } // it may have ended
	t.Cleanup(resume)
	b.says("Connection lost")
	b.until("nothing is green", `document.querySelectorAll(".tile").length > 0 &&
		document.querySelectorAll(".tile.good, .canary.good, .health .pill.good").length === 0`)
	b.picture("silence")
	resume()
	b.until("it is heard again", `!document.querySelector(".banner.lost")`)
	b.until("the guard is green again", `document.querySelector(".health .pill.good")`)
}

// TestCommandsOnPages holds the commands that the pages name against the program: each must exist,
// and take the flags it is shown with.
func TestCommandsOnPages(t *testing.T) {
	sources, err := filepath.Glob("../console/web/src/*/*.tsx")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	command := regexp.MustCompile("command=(?:\"|\\{`)surety ([^\"`]+)")
	value := regexp.MustCompile(`\$\{.*?(\}|$)`) // filled in by the page
	word, flag := regexp.MustCompile(`^[a-z][a-z-]*$`), regexp.MustCompile(`--[a-z-]+`)
	seen := 0
	for _, source := range sources {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range command.FindAllStringSubmatch(string(data), -1) {
			seen++
			var words []string
			for _, next := range strings.Fields(value.ReplaceAllString(found[1], " - ")) {
				if !word.MatchString(next) {
					break
				}
				words = append(words, next)
			}
			help, err := exec.Command(binary(t), append(slices.Clone(words), "--help")...).Output()
			if err != nil || !strings.Contains(string(help), "surety "+strings.Join(words, " ")) {
				t.Errorf("%s names %q, which is no command: %v", source, strings.Join(words, " "), err)
			}
			for _, name := range flag.FindAllString(found[1], -1) {
				if !strings.Contains(string(help), name) {
					t.Errorf("%s: %q has no flag %s", source, strings.Join(words, " "), name)
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d commands were found on the pages", seen)
	}
}
