// Judges the histories of a file with porcupine. Each line of standard input is the number of a batch to judge.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

type request struct{ kind, one, two int }

var register = porcupine.Model{
	Init: func() interface{} { return 0 },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		now, asked, answer := state.(int), input.(request), output.(int)
		switch asked.kind {
		case 0:
			return answer == -1 || answer == now, now
		case 1:
			return true, asked.one
		}
		if asked.one == now {
			return answer != 0, asked.two
		}
		return answer != 1, now
	},
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var batches [][][][]*int64 // of histories, of calls: start, end or null, kind, two arguments, answer
	if err := json.Unmarshal(text, &batches); err != nil {
		panic(err)
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var number int
		fmt.Sscan(input.Text(), &number)
		right := 0
		for _, history := range batches[number] {
			calls := make([]porcupine.Operation, len(history))
			for at, one := range history {
				end := int64(math.MaxInt64)
				if one[1] != nil {
					end = *one[1]
				}
				asked := request{int(*one[2]), int(*one[3]), int(*one[4])}
				calls[at] = porcupine.Operation{ClientId: 0, Input: asked, Call: *one[0], Output: int(*one[5]), Return: end}
			}
			if porcupine.CheckOperations(register, calls) {
				right++
			}
		}
		fmt.Println(right)
	}
}
