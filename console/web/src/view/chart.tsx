// Drawings made of SVG attributes alone: the policy of the pages allows no inline style.

/** A line over equally spaced values, filled below, from zero to their maximum. */
export function Sparkline(props: { values: number[]; label: string }) {
  const { values } = props;
  if (values.length < 2) return <svg class="spark" viewBox="0 0 240 40" aria-hidden="true" />;
  const top = Math.max(...values, 1);
  const points = values.map((value, i) => {
    const x = (i / (values.length - 1)) * 240;
    return `${x.toFixed(1)},${(38 - (Math.max(value, 0) / top) * 35).toFixed(1)}`;
  });
  return (
    <svg class="spark" viewBox="0 0 240 40" preserveAspectRatio="none" role="img">
      <title>{props.label}</title>
      <polygon points={`0,40 ${points.join(" ")} 240,40`} class="below" />
      <polyline points={points.join(" ")} class="line" />
    </svg>
  );
}

/** A bar from the middle: to the right and green for what raises a score, else left and red. */
export function Bar(props: { value: number; most: number }) {
  const width = props.most > 0 ? (Math.abs(props.value) / props.most) * 50 : 0;
  const left = props.value < 0 ? 50 - width : 50;
  return (
    <svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      <line x1="50" y1="0" x2="50" y2="10" />
      <rect x={left} y="1" width={width} height="8" class={props.value > 0 ? "for" : "against"} />
    </svg>
  );
}
