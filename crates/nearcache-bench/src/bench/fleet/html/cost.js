(function () {
  const box = document.getElementById("cost");
  const hours = 730;
  const price = (name) => {
    const text = box.querySelector("[name=" + name + "]").value;
    return text === "" ? null : Number(text);
  };
  const amounts = (arm) => ({
    server: (p) => p.server === null ? null : arm.server / 1e9 * p.server,
    pods: (p) => p.pods === null ? null : arm.pods / 1e9 * p.pods,
    transfer: (p) => p.transfer === null ? null : arm.bytes * 3600 * hours * p.share / 1e9 * p.transfer,
    ops: (p) => p.ops === null ? null : arm.ops * 3600 * hours * p.share / 1e6 * p.ops,
  });
  const show = (value) => value === null ? "-"
    : value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const update = () => {
    const share = price("share");
    const prices = { server: price("server"), pods: price("pods"), transfer: price("transfer"), ops: price("ops"),
      share: (share === null ? 100 : share) / 100 };
    for (const cell of box.querySelectorAll("td[data-arm]")) {
      const data = document.getElementById("cost-" + cell.dataset.arm).dataset;
      const arm = { server: +data.server, pods: +data.pods, bytes: +data.bytes, ops: +data.ops };
      const each = amounts(arm);
      const kinds = cell.dataset.kind === "total" ? Object.keys(each) : [cell.dataset.kind];
      const known = kinds.map((kind) => each[kind](prices)).filter((value) => value !== null);
      cell.textContent = show(known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0));
    }
  };
  box.addEventListener("input", update);
  update();
})();
