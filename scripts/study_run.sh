# What study.sh and finetune_study.sh share: sourced, with $root, $folder, $steps, and $napier the
# command.

# Fills a template in to FOLDER/NAME.toml, with more of sed's edits at the end; sets $arithmetic.
configured() { # template name format sums passes seed edits
  arithmetic=$3/acc=$4
  [ "$5" = both ] && backward=$arithmetic || backward=f32
  sed -e "s|@NAME@|$2|; s|@OUTPUT@|$folder/$2|; s|@STEPS@|$steps|; s|@SEED@|$6|" \
    -e "s|@FORWARD@|$arithmetic|; s|@BACKWARD@|$backward|" \
    -e "$7" "$root/recipes/train/$1.toml.in" >"$folder/$2.toml"
}

# The accuracy of a model, under an arithmetic, on the 478 of 500 questions that have a number of
# two digits (those of one digit are trained on): the last line of the table.
accuracy() {
  "$napier" tasks -t 1 "$1" --task arithmetic/small --arith "$2" --csv |
    sed -n 's/.*,exact,[^,]*,\([^,]*\),.*/\1/p' | tail -n 1
}

# Trains FOLDER/NAME.toml, whose output is FOLDER/NAME: "loss,exact,diverged,SHA-256 of the model".
trained() { # name arithmetic
  set -- "$folder" "$@"
  echo "study: $2" >&2
  if "$napier" train -t 1 "$1/$2.toml" --json >"$1/$2.json" 2>"$1/$2.err"; then
    loss=$(sed -n 's/^  "loss": \([0-9.e+-]*\),*$/\1/p' "$1/$2.json")
    exact=$(accuracy "$1/$2/model.gguf" "$3")
    model=$(sha256sum "$1/$2/model.gguf" | cut -d " " -f 1)
    rm -f "$1/$2/checkpoint.gguf"
    echo "$loss,$exact,0,$model"
  elif grep -q "no finite number" "$1/$2.err"; then
    echo ",,1,"
  else
    cat "$1/$2.err" >&2
    return 1
  fi
}
