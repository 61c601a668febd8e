//! The knee of a sizing table: beyond it more room buys little.

use crate::report::SizingRow;

/// A difference of hit rates that does not count.
const NOTHING: f64 = 1e-3;

/// Marks the row that lies farthest above the straight line from the first row to the last, capacities being
/// logarithmic (the Kneedle method of Satopää et al., 2011, without smoothing).
pub(crate) fn mark_knee(rows: &mut [SizingRow]) {
    let [first, .., last] = rows else {
        return;
    };
    let at = |row: &SizingRow| (row.capacity.max(1) as f64).ln();
    let (x0, y0) = (at(first), first.hit_rate);
    let slope = (last.hit_rate - y0) / (at(last) - x0);
    let above = |row: &SizingRow| row.hit_rate - y0 - slope * (at(row) - x0);
    // Without a bend: where room buys nothing, the smallest will do; where it goes on to buy, there is no knee yet.
    let flat = last.hit_rate - y0 < 10.0 * NOTHING;
    let mut knee = (if flat { 0 } else { rows.len() - 1 }, NOTHING);
    for (number, row) in rows.iter().enumerate() {
        if above(row) > knee.1 {
            knee = (number, above(row));
        }
    }
    rows[knee.0].knee = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knee(rates: [f64; 7]) -> u64 {
        let mut rows: Vec<SizingRow> = (0..)
            .zip(rates)
            .map(|(power, hit_rate)| SizingRow {
                capacity: 100 << power,
                about_bytes: 0,
                hit_rate,
                l2_reads_per_read: 1.0 - hit_rate,
                knee: false,
            })
            .collect();
        mark_knee(&mut rows);
        let marked: Vec<_> = rows.iter().filter(|row| row.knee).collect();
        assert_eq!(marked.len(), 1);
        marked[0].capacity
    }

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        assert_eq!(knee([0.3, 0.6, 0.8, 0.9, 0.92, 0.93, 0.935]), 400);
        // Where nothing bends: the smallest if room buys nothing, the largest if it does to the end.
        assert_eq!(knee([0.93; 7]), 100);
        assert_eq!(knee([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), 6400);
        mark_knee(&mut []);
    }
}
