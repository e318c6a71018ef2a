/** The sample files, each with the cursor at a place for a completion. */

export interface Sample {
  path: string;
  language: string;
  text: string;
  cursor: number;
}

const CURSOR = "‸";

function sample(language: string, path: string, marked: string): Sample {
  const cursor = marked.indexOf(CURSOR);
  return { path, language, text: marked.replace(CURSOR, ""), cursor };
}

/** Choosing a language opens its first sample. */
export const samples: readonly Sample[] = [
  sample(
    "vue",
    "Counter.vue",
    `<script setup lang="ts">
import { computed, ref } from 'vue'

const count = ref(0)
const doubled = ‸

function increment() {
  count.value++
}
</script>

<template>
  <section class="counter">
    <p>{{ count }} doubled is {{ doubled }}</p>
    <button type="button" @click="increment">Add one</button>
  </section>
</template>
`,
  ),
  sample(
    "vue",
    "TodoList.vue",
    `<script setup lang="ts">
import { ref } from 'vue'

interface Item {
  id: number
  title: string
  done: boolean
}

const items = ref<Item[]>([])
</script>

<template>
  <ul class="todo-list">
    <li v-for="item in items" :key="‸">
      <input v-model="item.done" type="checkbox" />
      {{ item.title }}
    </li>
  </ul>
</template>
`,
  ),
  sample(
    "typescript",
    "debounce.ts",
    `/** Calls \`fn\` once the calls have paused for \`delayMs\` milliseconds. */
export function debounce<Args extends unknown[]>(
  fn: (...args: Args) => void,
  delayMs: number,
): (...args: Args) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (...args: Args) => {
    ‸
  };
}
`,
  ),
  sample(
    "python",
    "statistics.py",
    `def mean(values: list[float]) -> float:
    """The arithmetic mean. Raises ValueError when there are no values."""
    if not values:
        raise ValueError("mean of no values")
    return sum(values) / len(values)


def median(values: list[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    if not values:
        raise ValueError("median of no values")
    ordered = sorted(values)
    ‸
`,
  ),
  sample(
    "javascript",
    "group.js",
    `/** Groups items into a Map by the key that keyOf gives each of them. */
export function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    ‸
  }
  return groups;
}
`,
  ),
  sample(
    "go",
    "words.go",
    `package words

import "strings"

// Count returns how often each word occurs, ignoring case.
func Count(text string) map[string]int {
	counts := make(map[string]int)
	for _, word := range strings.Fields(text) {
		‸
	}
	return counts
}
`,
  ),
  sample(
    "rust",
    "gcd.rs",
    `/// The greatest common divisor, by Euclid's algorithm.
pub fn gcd(a: u64, b: u64) -> u64 {
    ‸
}

#[test]
fn divides_both() {
    assert_eq!(gcd(12, 18), 6);
}
`,
  ),
  sample(
    "java",
    "Stack.java",
    `import java.util.ArrayList;
import java.util.List;

public class Stack<T> {
    private final List<T> items = new ArrayList<>();

    public void push(T item) {
        items.add(item);
    }

    public T pop() {
        ‸
    }
}
`,
  ),
  sample(
    "cpp",
    "clamp.cpp",
    `#include <algorithm>
#include <vector>

// Moves every value into the range from low to high.
void clamp_all(std::vector<double>& values, double low, double high) {
    for (auto& value : values) {
        ‸
    }
}
`,
  ),
  sample(
    "c",
    "reverse.c",
    `#include <string.h>

/* Reverses the string in place. */
void reverse(char *text) {
    size_t length = strlen(text);
    ‸
}
`,
  ),
  sample(
    "csharp",
    "Temperature.cs",
    `public static class Temperature
{
    public static double ToFahrenheit(double celsius) => celsius * 9 / 5 + 32;

    public static double ToCelsius(double fahrenheit) => ‸
}
`,
  ),
  sample(
    "php",
    "slug.php",
    `<?php

/** Turns a title into a slug: lower case, words joined by hyphens. */
function slug(string $title): string
{
    ‸
}
`,
  ),
  sample(
    "ruby",
    "palindrome.rb",
    `# True when the text reads the same backwards, ignoring case and spaces.
def palindrome?(text)
  ‸
end
`,
  ),
  sample(
    "html",
    "contact.html",
    `<form action="/contact" method="post">
  <label for="name">Name</label>
  <input id="name" name="name" required>
  <label for="email">E-mail</label>
  ‸
  <button type="submit">Send</button>
</form>
`,
  ),
  sample(
    "css",
    "card.css",
    `.card {
  border: 1px solid #d0d4da;
  border-radius: 8px;
  padding: 16px;
}

.card:hover {
  ‸
}
`,
  ),
  sample(
    "shellscript",
    "backup.sh",
    `#!/bin/sh
set -eu

# Packs a folder into backups/ with today's date in the name.
folder=$1
mkdir -p backups
‸
`,
  ),
];
