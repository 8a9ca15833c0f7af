"""napier.torch: products and gradients, and whole models under a plan."""
import copy
import math
import pickle

import napier
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

WANTED = "SKIPPED: needs torch and transformers (tests/requirements-optional.txt)"
torch = pytest.importorskip("torch", reason=WANTED)

import napier.torch as nt  # noqa: E402

nn, F = torch.nn, torch.nn.functional

# f32 that PyTorch is not left to do: the same products, and sums that f32 rounds once.
NAPIERS = "x=f32/w=f32/acc=f64"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1614)


# Products.

@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_products_are_those_of_arrays(dtype):
    a, b = torch.randn(3, 5, 64).to(dtype), torch.randn(3, 64, 7).to(dtype)
    got = nt.matmul(a, b, "lmul-m4")
    want = napier.matmul(a.float().numpy(), b.float().numpy(), "lmul-m4")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.float().numpy(), torch.from_numpy(want).to(dtype).float())
    w = torch.randn(7, 64).to(dtype)
    got = nt.linear(a, w, None, "lmul-m4")
    want = napier.matmul(a.float().numpy(), w.float().numpy().T, "lmul-m4")
    np.testing.assert_array_equal(got.float(), torch.from_numpy(want).to(dtype).float())


def test_tensors_are_arrays_for_numpys_functions():
    a, b = torch.randn(4, 8), torch.randn(8, 3)
    want = napier.matmul(a.numpy(), b.numpy(), "bf16")
    np.testing.assert_array_equal(napier.matmul(a, b.requires_grad_(), "bf16"), want)
    half = a.to(torch.bfloat16)
    np.testing.assert_array_equal(napier.matmul(half, b.detach(), "f32"),
                                  napier.matmul(half.float(), b.detach(), "f32"))
    fp8 = a.to(torch.float8_e4m3fn)
    np.testing.assert_array_equal(napier.matmul(fp8, b.detach(), "f32"),
                                  napier.matmul(fp8.float(), b.detach(), "f32"))


@given(st.sampled_from([((4,), (4, 3)), ((2, 4), (4,)), ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2)),
                        ((3, 4), (2, 4, 5))]))
def test_gradients_of_the_exact_product_are_torchs(shapes):
    tensors = [torch.randn(shape) for shape in shapes]
    ours = [t.clone().requires_grad_() for t in tensors]
    theirs = [t.clone().requires_grad_() for t in tensors]
    out = nt.matmul(*ours, "lmul-m4")
    g = torch.randn(out.shape)
    out.backward(g)
    torch.matmul(*theirs).backward(g)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def in_double(arith, gradient):
    return lambda a, b: nt.matmul(a.float(), b.float(), arith, gradient).double()


@pytest.mark.parametrize("gradient", ["exact", "own"])
def test_gradcheck_of_exact_products(gradient):
    a, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (4, 5)))
    # In f32: a wide step, which loses nothing as products are bilinear.
    assert torch.autograd.gradcheck(in_double("f32", gradient), (a, b), eps=0.25, atol=1e-4)


def inside_a_piece(random, shape):
    """Numbers whose mantissas, and the sums of two of them, keep away from where pieces meet."""
    mantissa = random.choice([0.0625, 0.25, 0.6875, 0.8125], shape)
    return torch.tensor(np.ldexp(1 + mantissa, random.integers(-2, 3, shape))
                        * random.choice([-1, 1], shape), requires_grad=True)


@pytest.mark.parametrize("arith", ["pam", "mul=lmul(l=5)", "mul=lmul(reading=formula,l=3)"])
def test_gradcheck_of_the_arithmetics_own_derivative(arith):
    random = np.random.default_rng(2)
    a, b = inside_a_piece(random, (3, 4)), inside_a_piece(random, (4, 2))
    assert torch.autograd.gradcheck(in_double(arith, "own"), (a, b), eps=2**-9, atol=2e-3)
    with pytest.raises(torch.autograd.gradcheck.__globals__["GradcheckError"]):
        torch.autograd.gradcheck(in_double(arith, "exact"), (a, b), eps=2**-9, atol=2e-3)


def test_gradients_under_arithmetics():
    x, w = torch.randn(6, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    # Operands of different formats: who is x and who is w shows. As in `napier train` (OUT_PROD of
    # src/ggml/matmul.cpp), the incoming gradient is x in both.
    of_x, of_w = "x=e5m2/w=e2m3fn", "x=e2m3fn/w=e5m2"
    rule = nt.Gradients("exact", napier.Arithmetic(of_x), napier.Arithmetic(of_w))
    out = nt.linear(x, w, None, "f32", rule)
    g = torch.randn(out.shape)
    out.backward(g)
    xs, ws, gs = x.detach().numpy(), w.detach().numpy(), g.numpy()
    np.testing.assert_array_equal(x.grad, napier.matmul(gs, ws, of_x))
    np.testing.assert_array_equal(w.grad, napier.matmul(gs.T, xs, of_w))
    assert not np.array_equal(w.grad, napier.matmul(xs.T, gs, of_w).T)


def test_learning_under_an_arithmetic():
    """A tiny network learns a function through L-Mul, by either derivative."""
    for gradient in ("exact", "own"):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        x = torch.randn(64, 2)
        y = (x[:, :1] * x[:, 1:]).detach()
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        with nt.patch(net, "lmul-m4", gradient):
            losses = []
            for _ in range(150):
                optimiser.zero_grad()
                loss = F.mse_loss(net(x), y)
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
        assert losses[-1] < 0.35 * losses[0], (gradient, losses[0], losses[-1])


def test_negated_views_keep_their_sign():
    z = torch.tensor([[1 + 2j, 3 + 4j]])
    np.testing.assert_array_equal(napier.multiply(z.conj().imag, 1.0, "f32"), [[-2, -4]])


# Models.

class Everything(nn.Module):
    """Each way of PyTorch to multiply matrices, once."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):  # (2, 4, 8)
        y = self.proj(x)
        y = y @ self.table
        y = torch.matmul(y, y.mT) @ x
        y = torch.bmm(y, torch.ones(2, 8, 8) / 8)
        y = torch.einsum("bij,bkj->bik", y, x) @ x
        y = torch.einsum("bij,jk", y, self.table)
        y = torch.addmm(torch.ones(8), y[0], y[1].T @ y[1], beta=0.5, alpha=2.0)
        y = torch.baddbmm(torch.zeros(1, 4, 8), y[None], torch.eye(8)[None])[0]
        y = torch.mm(y, torch.eye(8)).mv(torch.arange(8.0))
        q = x.reshape(2, 1, 4, 8)
        z = F.scaled_dot_product_attention(q, q, q, is_causal=True)
        return y.sum() + z


@pytest.mark.parametrize("plan, tolerance", [("f32", 0), (NAPIERS, 1e-4)])
def test_f32_is_torchs(plan, tolerance):
    model, x = Everything(), torch.randn(2, 4, 8)
    want = model(x)
    with nt.patch(model, plan) as patched:
        got = model(x)
    torch.testing.assert_close(got, want, rtol=tolerance, atol=10 * tolerance)
    names = {row["name"]: row["arith"] for row in patched.coverage()}
    assert set(names) >= {"proj", "", "matmul-0", "matmul-1", "matmul-2", "kq", "kqv"}
    assert len(set(names.values())) == 1 and "f32" in names["proj"]
    np.testing.assert_array_equal(model(x).detach(), want.detach())


def test_f32_is_napiers_where_pytorchs_is_not_f32():
    """Narrower products were allowed to PyTorch, gradients are asked for in another arithmetic, or
    the numbers are not float32."""
    model, x = nn.Linear(300, 4, bias=False), torch.randn(5, 300)
    ours = nt.linear(x, model.weight, None, "f32")
    assert not torch.equal(ours, model(x)), "sums of 300 in another order"
    with nt.patch(model, "f32"):
        assert torch.equal(model(x), F.linear(x, model.weight))
        torch.set_float32_matmul_precision("medium")
        try:
            assert torch.equal(model(x), ours)
        finally:
            torch.set_float32_matmul_precision("highest")
    with nt.patch(model, "f32", weight_gradients="bf16"):
        assert torch.equal(model(x), ours)
    with nt.patch(model.to(torch.bfloat16), "f32"):
        half = x.to(torch.bfloat16)
        assert torch.equal(model(half), nt.linear(half, model.weight, None, "f32"))


def test_every_way_of_multiplying_is_reached():
    """Under an arithmetic that makes every product zero nothing else is left."""
    zero = "x=uint1/w=uint1"  # numbers below one half become 0
    x = torch.full((2, 4, 8), 0.1)

    def all_ways(t):
        m, n = t[0], t[0].T
        sums = [F.linear(m, m), m @ n, torch.matmul(t, t.mT), torch.bmm(t, t.mT), m.mm(n),
                torch.mm(m, n), m.mv(m[0]), torch.einsum("ij,kj", m, m), t.bmm(t.mT),
                torch.addmm(torch.zeros(4, 4), m, n), torch.zeros(4, 4).addmm(m, n),
                torch.baddbmm(torch.zeros(2, 4, 4), t, t.mT),
                torch.zeros(2, 4, 4).baddbmm(t, t.mT), t.matmul(t.mT),
                F.scaled_dot_product_attention(t, t, t), torch.linalg.matmul(m, n),
                torch.tensordot(t, t, ([0, 2], [0, 2])), torch.inner(m, m), m[0].inner(m[0]),
                torch.dot(m[0], m[0]), m[0].dot(m[0]), torch.addmv(torch.zeros(4), m, m[0]),
                torch.addbmm(torch.zeros(4, 4), t, t.mT), F.linear(input=m, weight=m),
                torch.mv(m, vec=m[0]), torch.mm(input=m, mat2=n), torch.matmul(m, other=n),
                torch.addmm(input=torch.zeros(4, 4), mat1=m, mat2=n)]
        return torch.stack([s.abs().sum() for s in sums])

    class Ways(nn.Module):
        def forward(self, t):
            return all_ways(t)

    model = Ways()
    assert (model(x) > 0).all()
    with nt.patch(model, zero):
        np.testing.assert_array_equal(model(x), np.zeros(28))
    with nt.patch(model, NAPIERS):
        ours = model(x)
    torch.testing.assert_close(ours, model(x))


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *operands):
        return self.function(*operands)


def first_of(module, *arguments):
    return lambda t: module(*(arguments or (t,)))[0]


SQUARE = torch.linspace(-1, 1, 16).reshape(4, 4)
OUT_OF_SIGHT = {
    "out": lambda t: torch.matmul(t, t, out=torch.empty(4, 4)),
    "addmm_": lambda t: torch.zeros(4, 4).addmm_(t, t),
    "baddbmm_": lambda t: torch.zeros(1, 4, 4).baddbmm_(t[None], t[None]),
    "multi_dot": lambda t: torch.linalg.multi_dot([t, t, t]),
    "chain_matmul": lambda t: torch.linalg.multi_dot((t, t, t)),
    "aten": lambda t: torch.ops.aten.mm(t, t),
    "sparse": lambda t: torch.sparse.mm(t.to_sparse(), t),
    "cdist": lambda t: torch.cdist(t, t, compute_mode="use_mm_for_euclid_dist"),
    "conv1d": lambda t: F.conv1d(t, t[:, :, None]),
    "convolution": lambda t: torch.convolution(t[None], t[:, :, None], None, [1], [0], [1], False,
                                               [0], 1),
    "vdot": lambda t: torch.vdot(t[0], t[1]),
    "script": torch.jit.script(nn.Linear(4, 4)),
    "RNN": first_of(nn.RNN(4, 4)),
    "RNNCell": nn.RNNCell(4, 4),
    "LSTMCell": first_of(nn.LSTMCell(4, 4)),
    "GRUCell": nn.GRUCell(4, 4),
    "ConvTranspose1d": nn.ConvTranspose1d(4, 4, 2),
    "Conv2d": first_of(nn.Conv2d(1, 1, 2), SQUARE[None]),
    "Bilinear": first_of(nn.Bilinear(4, 4, 2), SQUARE, SQUARE),
    "MultiheadAttention": first_of(nn.MultiheadAttention(4, 2), SQUARE, SQUARE, SQUARE),
    "TransformerEncoderLayer": nn.TransformerEncoderLayer(4, 2, 8).eval(),
}


@pytest.mark.parametrize("name", OUT_OF_SIGHT)
def test_what_is_not_reached_is_refused_where_the_plan_names_it(name):
    """And is PyTorch's own, bit by bit, where it does not."""
    model = Called(OUT_OF_SIGHT[name])
    with torch.no_grad():
        want = model(SQUARE)
        with nt.patch(model, "*->lmul-m4"), pytest.raises(NotImplementedError, match="leave this"):
            model(SQUARE)
        with nt.patch(model, "elsewhere->lmul-m4"):
            np.testing.assert_array_equal(model(SQUARE), want)


def test_attention_out_of_sight_is_refused_by_its_products_names():
    model = nn.TransformerEncoderLayer(4, 2, 8)
    with nt.patch(model, "*.kq->lmul-m4"), pytest.raises(NotImplementedError, match="self_attn"):
        model(SQUARE)


@pytest.mark.parametrize("call", [
    lambda t: torch.einsum("...i,ij->...j", t, t), lambda t: torch.einsum("ij,jk,kl->il", t, t, t),
    lambda t: torch.einsum("ii,ij->j", t, t), lambda t: torch.einsum("ij->ji", t),
    lambda t: t @ t.to_sparse(), lambda t: torch.vmap(torch.dot)(t, t),
    lambda t: torch.nested.nested_tensor([t[:2], t[1:]], layout=torch.jagged).matmul(t).values(),
])
def test_what_the_plan_does_not_name_is_left_alone(call):
    model = Called(call)
    with nt.patch(model, "lin->lmul-m4"):
        np.testing.assert_array_equal(model(SQUARE), call(SQUARE))


@pytest.mark.parametrize("equation, shapes", [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bjk->bki", [(2, 3, 4), (2, 4, 5)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]), ("i,j->ij", [(3,), (4,)]),
    ("ij,ij->", [(3, 4), (3, 4)]), ("ij,j", [(3, 4), (4,)]), ("aij,jk->ik", [(2, 3, 4), (4, 5)]),
    ("bqhd,bkhd->bhqk", [(2, 3, 4, 5), (2, 6, 4, 5)]), ("i,i->i", [(4,), (4,)]),
    ("bij,bjk->bik", [(1, 3, 4), (3, 4, 5)]), ("ij,jk->ik", [(3, 1), (4, 5)]),
    ("bij,bjk->ik", [(1, 3, 4), (3, 4, 1)]), ("ij,jk->ik", [(1, 4), (1, 2)]),
])
def test_einsum(equation, shapes):
    class Product(nn.Module):
        def forward(self, *operands):
            return torch.einsum(equation, *operands)

    model, operands = Product(), [torch.randint(-4, 5, s).float() for s in shapes]
    want = model(*operands)
    with nt.patch(model, NAPIERS) as patched:
        np.testing.assert_array_equal(model(*operands), want)
    assert patched.coverage()[0]["arith"] == str(napier.Arithmetic(NAPIERS))


def test_einsum_of_a_tensor_with_itself():
    for equation in ("ij,jk->i", "ij,kj->ik", "ij,ij->"):
        model = Called(lambda t, equation=equation: torch.einsum(equation, t, t))
        t = torch.randint(-4, 5, (3, 3)).float()
        with nt.patch(model, NAPIERS):
            np.testing.assert_array_equal(model(t), torch.einsum(equation, t, t))


@pytest.mark.parametrize("options", [
    {}, {"is_causal": True}, {"scale": 0.3}, {"enable_gqa": True},
    {"attn_mask": torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) < 0.5},
    {"attn_mask": torch.linspace(-3, 3, 24).reshape(4, 6)},
    {"attn_mask": torch.zeros(4, 6, dtype=torch.bool)},
    {"attn_mask": torch.zeros(4, 6).index_fill(0, torch.tensor([2]), -math.inf)},
])
def test_attention_is_torchs(options):
    heads = 2 if "enable_gqa" in options else 4
    q = torch.randn(2, 4, 4, 8)
    k, v = torch.randn(2, heads, 6, 8), torch.randn(2, heads, 6, 8)

    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, **options)

    model = Attention()
    want = model(q, k, v)
    with nt.patch(model, NAPIERS):
        torch.testing.assert_close(model(q, k, v), want, rtol=1e-5, atol=1e-5)
    with nt.patch(model, "f32"):
        np.testing.assert_array_equal(model(q, k, v), want)
    for narrow in (torch.bfloat16, torch.float16):  # scores of 1e4 and more are beyond float16
        large, others = (100 * q).to(narrow), [t.to(narrow) for t in (100 * k, v)]
        want = model(large, *others)
        with nt.patch(model, NAPIERS):
            got = model(large, *others)
        assert got.dtype == narrow
        torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)


def llama(**options):
    transformers = pytest.importorskip("transformers", reason=WANTED)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, **options)
    return transformers.LlamaForCausalLM(config).eval()


def gpt2(**options):
    transformers = pytest.importorskip("transformers", reason=WANTED)
    config = transformers.GPT2Config(vocab_size=64, n_positions=64, n_embd=32, n_layer=2, n_head=4,
                                     **options)
    return transformers.GPT2LMHeadModel(config).eval()


MODELS = [(llama, "sdpa"), (llama, "eager"), (gpt2, "sdpa"), (gpt2, "eager")]


def logits(model, tokens):
    with torch.no_grad():
        return model(tokens).logits


@pytest.mark.parametrize("make, attention", MODELS)
def test_transformers(make, attention):
    model = make(attn_implementation=attention)
    tokens = torch.randint(0, 64, (2, 12))
    want = logits(model, tokens)
    keys = list(model.state_dict())
    state = {key: value.clone() for key, value in model.state_dict().items()}

    with nt.patch(model, "nothing.*->lmul-m4"):  # PyTorch's own, bit by bit
        np.testing.assert_array_equal(logits(model, tokens), want)
    with nt.patch(model, "f32"):
        np.testing.assert_array_equal(logits(model, tokens), want)
    with nt.patch(model, NAPIERS) as patched:
        exact = logits(model, tokens)
        np.testing.assert_array_equal(logits(model, tokens), exact)  # packed weights used again
    torch.testing.assert_close(exact, want, rtol=0, atol=2e-6)
    assert (exact.argmax(-1) == want.argmax(-1)).all()
    rows = {row["name"]: row for row in patched.coverage()}
    assert {row["arith"] for row in rows.values()} == {str(napier.Arithmetic(NAPIERS))}
    layers = {int(name.split(".")[2]) for name in rows if ".layers." in name or ".h." in name}
    assert layers == {0, 1}
    products = {name.rpartition(".")[2] for name in rows}
    assert {"kq", "kqv"} <= products or {"matmul-0", "matmul-1"} <= products
    assert "lm_head" in rows
    assert rows["lm_head"]["multiplications"] == 2 * 2 * 12 * 32 * 64  # of two passes

    with nt.patch(model, "lmul-m4"):
        far = logits(model, tokens)
        assert list(model.state_dict()) == keys
        model.load_state_dict(state)
        np.testing.assert_array_equal(logits(model, tokens), far)
    assert 1e-4 < (far - want).abs().max() < 1
    np.testing.assert_array_equal(logits(model, tokens), want)


def test_rules_go_by_module_path():
    model = llama(attn_implementation="sdpa")
    tokens = torch.randint(0, 64, (1, 8))
    plan = "*.self_attn.kq*->lmul-m4; model.layers.0.mlp.*->int8; lm_head->bf16"
    with nt.patch(model, plan) as patched:
        logits(model, tokens)
        patched.check()
    arith = {row["name"]: row["arith"] for row in patched.coverage()}
    assert arith["model.layers.1.self_attn.kqv"] == "lmul-m4"
    assert arith["model.layers.0.mlp.up_proj"] == "int8" and arith["lm_head"] == "bf16"
    assert arith["model.layers.1.mlp.up_proj"] == "" == arith["model.layers.0.self_attn.q_proj"]
    # The same by hand: the two attention products alone.
    calls = []
    attention = F.scaled_dot_product_attention

    def by_hand(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **other):
        calls.append(1)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = nt.matmul(q, k.mT, "lmul-m4") * scale
        if is_causal:
            scores = scores + torch.full((8, 8), -math.inf).triu(1)
        elif attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        return nt.matmul(scores.softmax(-1), v, "lmul-m4")

    with nt.patch(model, "*.kq*->lmul-m4"):
        got = logits(model, tokens)
    try:
        F.scaled_dot_product_attention = by_hand
        np.testing.assert_array_equal(got, logits(model, tokens))
    finally:
        F.scaled_dot_product_attention = attention
    assert calls


def test_a_rule_that_decides_nothing_is_found():
    model = llama()
    with nt.patch(model, "layers.0->f32") as patched:
        logits(model, torch.zeros(1, 2, dtype=torch.int64))
        with pytest.raises(napier.Error, match=r"layers\.0 -> f32 decided nothing"):
            patched.check()


def test_generate_and_inference_mode():
    model = gpt2()
    tokens = torch.randint(0, 64, (1, 4))
    with nt.patch(model, "lmul-m4") as patched:
        with torch.inference_mode():
            out = model.generate(tokens, max_new_tokens=6, do_sample=False, pad_token_id=0)
        names = {row["name"] for row in patched.coverage()}
        want = tokens
        for _ in range(6):
            want = torch.cat([want, logits(model, want)[:, -1:].argmax(-1)], 1)
    assert "transformer.h.0.attn.c_attn" in names
    np.testing.assert_array_equal(out, want)


def test_weights_that_change_are_seen():
    model = nn.Sequential(nn.Linear(8, 8, bias=False))
    x = torch.randn(3, 8)
    with nt.patch(model, "bf16"), torch.no_grad():
        model(x)
        model[0].weight.data.mul_(2)  # no version is counted for this
        want = napier.matmul(x, model[0].weight.numpy().T, "bf16")
        np.testing.assert_array_equal(model(x), want)
        model[0].weight.data[[0, 1]] = model[0].weight.data[[1, 0]].clone()
        want = napier.matmul(x, model[0].weight.numpy().T, "bf16")
        np.testing.assert_array_equal(model(x), want)


def test_training_a_patched_transformer():
    model = llama().train()
    other = copy.deepcopy(model)
    tokens = torch.randint(0, 64, (2, 8))
    with nt.patch(model, "f32"):
        model(tokens, labels=tokens).loss.backward()
    other(tokens, labels=tokens).loss.backward()
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-6, msg=name)
    model.zero_grad()
    with nt.patch(model, "lmul-m4", "own"):
        model(tokens, labels=tokens).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_copies_have_weights_of_their_own():
    for model in (llama(), gpt2()):
        tokens = torch.randint(0, 64, (1, 6))
        with nt.patch(model, "lmul-m4"):
            want = logits(model, tokens)
            other = copy.deepcopy(model)
            np.testing.assert_array_equal(logits(other, tokens), want)
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.mul_(0.5)
            assert not torch.equal(logits(other, tokens), want)
            np.testing.assert_array_equal(logits(model, tokens), want)
        plain = logits(model, tokens)
        assert not torch.equal(plain, want)
        nt.unpatch(other)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(2)
        np.testing.assert_array_equal(logits(other, tokens), plain)
    net = nn.Sequential(nn.Linear(4, 4, bias=False))
    net[0].forward = lambda x, net=net: 2 * F.linear(x, net[0].weight)  # an instance's own
    nt.patch(net, "lmul-m4")
    average = torch.optim.swa_utils.AveragedModel(net)
    x = torch.randn(3, 4)
    np.testing.assert_array_equal(average(x).detach(), net(x).detach())
    with pytest.raises(TypeError, match="unpatch it first"):
        pickle.dumps(net)


def test_a_patched_model_within_another_keeps_its_plan():
    teacher, student = nn.Linear(8, 8, bias=False), Called(None)
    x = torch.randn(3, 8)
    plain = teacher(x)
    student.function = lambda t: teacher(t) @ torch.eye(8)
    student.__dict__["teacher"] = teacher
    for plan in ("f32", "nothing->lmul-m4"):
        with nt.patch(student, "lmul-m4") as outer, nt.patch(teacher, plan):
            got = student(x)
        np.testing.assert_array_equal(got.detach(), napier.matmul(plain.detach(), np.eye(
            8, dtype=np.float32), "lmul-m4"))
        assert [row["name"] for row in outer.coverage()] == ["matmul-0"]


def test_functions_within_modules_may_be_computed_again():
    """torch.utils.checkpoint of a module's method: on the way back it is still under the plan."""
    from torch.utils.checkpoint import checkpoint

    class Model(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.lin = nn.Linear(8, 8)
            self.how = how

        def body(self, x):
            return torch.tanh(self.lin(x @ x.T) @ torch.ones(8, 8))

        def forward(self, x):
            y = x @ torch.eye(8)
            y = self.body(y) if self.how is None else checkpoint(
                self.body, y, use_reentrant=self.how)
            return (y @ x).sum()

    gradients = {}
    for how in (None, True, False):
        torch.manual_seed(3)
        model, x = Model(how), torch.randn(8, 8, requires_grad=True)
        with nt.patch(model, "lmul-m2", "own") as patched:
            model(x).backward()
        gradients[how] = x.grad, model.lin.weight.grad
        assert {row["name"] for row in patched.coverage()} == {
            "lin", "matmul-0", "matmul-1", "matmul-2", "matmul-3"}
    for how in (True, False):
        for got, want in zip(gradients[how], gradients[None], strict=True):
            assert want.abs().max() > 0
            torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_autocast_is_pytorchs():
    """Operands are narrowed first, results are narrow, and f32 is PyTorch's own, bit by bit."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    x = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        want = model(x)
        with nt.patch(model, "nothing->bf16"):
            np.testing.assert_array_equal(model(x).float().detach(), want.float().detach())
        with nt.patch(model, "1->f32"):
            close = model(x)
        with nt.patch(model, "0->lmul-m4"):
            got = model[0](x)
    assert close.dtype == got.dtype == torch.bfloat16
    torch.testing.assert_close(close, want, rtol=2e-2, atol=2e-2)
    ours = nt.linear(x.bfloat16(), model[0].weight.bfloat16(), model[0].bias.bfloat16(), "lmul-m4")
    np.testing.assert_array_equal(got.float().detach(), ours.float().detach())
    tokens, transformer = torch.randint(0, 64, (1, 6)), llama()
    with torch.autocast("cpu", torch.bfloat16), nt.patch(transformer, "lmul-m4"):
        assert logits(transformer, tokens).dtype == torch.bfloat16


def test_gradient_plans_are_held_to_what_plans_are():
    model, x = nn.Sequential(nn.Linear(4, 4)), torch.randn(2, 4)
    with pytest.raises(napier.Error, match="treatments run in GGUF"):
        nt.patch(model, "f32", weight_gradients="int8 with outliers(6)")
    with nt.patch(model, "f32", weight_gradients="typo.*->bf16") as patched:
        model(x).sum().backward()
        with pytest.raises(napier.Error, match=r"typo\.\* -> bf16 decided nothing"):
            patched.check()
    with nt.patch(model, "f32", weight_gradients="0->bf16") as patched:
        model(x).sum().backward()
        patched.check()


def test_linear_of_nothing():
    model = nn.Linear(0, 3)
    with nt.patch(model, "lmul-m4"):
        np.testing.assert_array_equal(model(torch.ones(2, 0)).detach(),
                                      model.bias.expand(2, 3).detach())


def test_torch_compile_survives():
    model = llama()
    tokens = torch.randint(0, 64, (1, 8))
    want = logits(model, tokens)
    compiled = torch.compile(model, backend="eager")
    logits(compiled, tokens)
    with nt.patch(compiled, "lmul-m4"):
        inside = logits(compiled, tokens)
        np.testing.assert_array_equal(inside, logits(model, tokens))
        again = torch.compile(model, backend="eager")
        np.testing.assert_array_equal(logits(again, tokens), inside)
    assert (inside - want).abs().max() > 1e-4
    np.testing.assert_array_equal(logits(compiled, tokens), want)


def test_permanent_patches_and_parts_of_models():
    model = llama()
    tokens = torch.randint(0, 64, (1, 8))
    want = logits(model, tokens)
    patched = nt.patch(model.model.layers[1], "lmul-m4")
    assert not np.array_equal(logits(model, tokens), want)
    assert {row["name"] for row in patched.coverage()} > {"mlp.up_proj"}
    with pytest.raises(ValueError, match="patched already"):
        nt.patch(model, "f32")
    nt.unpatch(model)
    nt.unpatch(model)
    np.testing.assert_array_equal(logits(model, tokens), want)
    assert "forward" not in model.model.layers[1].__dict__


def test_the_same_logits_as_the_gguf_path(shared):
    """stories260K's weights in transformers' Llama, against llama.cpp with Napier's backend."""
    transformers = pytest.importorskip("transformers", reason=WANTED)
    gguf = pytest.importorskip("gguf")
    path = shared("data/models/stories260K.gguf")
    reader = gguf.GGUFReader(path)
    tensors = {t.name: torch.from_numpy(np.array(t.data, np.float32)) for t in reader.tensors}

    def field(name):
        return reader.fields["llama." + name].contents()

    heads, groups = field("attention.head_count"), field("attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=len(tensors["token_embd.weight"]), hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
        num_attention_heads=heads, num_key_value_heads=groups, rope_theta=10000.0,
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"), max_position_embeddings=512,
        tie_word_embeddings="output.weight" not in tensors)
    model = transformers.LlamaForCausalLM(config).eval()

    def rotated_halves(weight, n):  # llama.cpp turns neighbours, transformers halves
        return weight.reshape(n, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    state = {"model.embed_tokens.weight": tensors["token_embd.weight"],
             "model.norm.weight": tensors["output_norm.weight"],
             "lm_head.weight": tensors.get("output.weight", tensors["token_embd.weight"])}
    for name, tensor in tensors.items():
        if name.startswith("blk."):
            _, layer, part, _ = name.split(".")
            if part in ("attn_q", "attn_k"):
                tensor = rotated_halves(tensor, heads if part == "attn_q" else groups)
            state[f"model.layers.{layer}.{names[part]}.weight"] = tensor
    model.load_state_dict(state)

    text = "Once upon a time, there was a little girl named Lily. She loved to play outside."
    rows = {}
    for arith in ("f32", "bf16", "lmul-m4", "lmul-m7"):
        reference = napier.Model(path, arith)
        tokens = reference.tokenise(text)
        with nt.patch(model, arith):
            rows[arith] = (logits(model, torch.tensor([tokens]))[0].numpy(),
                           reference.logits(tokens))

    def distance(a, b):
        return np.sqrt(np.mean((a - b) ** 2) / np.mean(b ** 2))

    assert distance(*rows["f32"]) < 1e-5
    for arith in ("bf16", "lmul-m4", "lmul-m7"):
        ours, theirs = rows[arith]
        # Norms, soft-max and turning differ in their last bits; operands are rounded after them, so
        # mostly nothing is left of it, unless a number lies at the edge between two codes.
        assert distance(ours, theirs) < 0.05 * distance(theirs, rows["f32"][1]), arith
        assert (ours.argmax(-1) == theirs.argmax(-1)).all()


# What is wrong is said.

X, W = torch.ones(2, 4), torch.ones(3, 4)


@pytest.mark.parametrize("call, error, words", [
    (lambda: nt.matmul(X.double(), W.T.double(), "f32"), TypeError, "a has dtype torch.float64"),
    (lambda: nt.matmul(X, W.T.to(torch.bfloat16), "f32"), TypeError, "one for both"),
    (lambda: nt.matmul(X.to("meta"), W.T, "f32"), BufferError, "lies on meta.*cpu"),
    (lambda: nt.matmul(X, W, "f32"), ValueError, "4 columns.*3 rows"),
    (lambda: nt.matmul(X.to_sparse(), W.T, "f32"), TypeError, "layout"),
    (lambda: nt.matmul(X.numpy(), W.T, "f32"), TypeError, "torch.Tensor"),
    (lambda: nt.linear(X, W.T, None, "f32"), ValueError, r"\(n, k\)"),
    (lambda: nt.matmul(X, W.T, "f32", "none"), ValueError, "'exact' or 'own'"),
    (lambda: nt.matmul(X, W.T, "mul=realm/x=e4m3/w=e4m3", "own"), napier.Error, "derivative"),
    (lambda: nt.patch(X, "f32"), TypeError, "Module"),
    (lambda: nt.patch(nn.Linear(2, 2), None), TypeError, "plan is a NoneType"),
    (lambda: nt.patch(nn.Linear(2, 2), 3), TypeError, "plan is a int"),
    (lambda: nt.unpatch(None), TypeError, "Module"),
    (lambda: nt.linear(X, W, None, "f32", packed=napier.pack(W.numpy(), "bf16")), ValueError,
     "packed holds"),
    (lambda: nt.patch(nn.Linear(2, 2), "lmul-m99"), napier.Error, "lmul-m99"),
    (lambda: nt.patch(nn.Linear(2, 2), "int8 with outliers(6)"), napier.Error, "outliers.*alone"),
    (lambda: nt.patch(nn.Linear(2, 2), "f32", "own", weight_gradients="f32"), ValueError, "own"),
    (lambda: nt.patch(nn.Linear(2, 2), "mul=realm/x=e4m3/w=e4m3", "own"), napier.Error, "realm"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("model, given, error, words", [
    (nn.Linear(4, 4).double(), torch.ones(1, 4).double(), TypeError, "float64"),
    (nn.Linear(4, 4, device="meta"), torch.ones(1, 4, device="meta"), BufferError, "meta"),
    (nn.GRU(4, 4), torch.ones(3, 1, 4), NotImplementedError, "leave this module out"),
])
def test_models_that_cannot_be_done_say_so(model, given, error, words):
    with nt.patch(model, "f32"), pytest.raises(error, match=words):
        model(given) if given is not None else model(X, X)
    out = model(given) if given is not None else model(X, X)  # and are whole again
    assert out is not None

