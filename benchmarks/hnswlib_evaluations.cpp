// How many distances hnswlib computes a query (its Python module does not tell): M = 16,
// ef_construction = 200, k = 10, l2. benchmarks/run.py --json has the same of vecsql's core.
//
//     pip download --no-deps --no-binary hnswlib hnswlib==0.8.0 && tar xzf hnswlib-0.8.0.tar.gz
//     g++ -O3 -march=native -Ihnswlib-0.8.0/hnswlib benchmarks/hnswlib_evaluations.cpp -o count
//     ./count BASE QUERY DIMS        float32 row by row: numpy's base[:100000].tofile("BASE")
//
// Prints ef, recall@10 and distances a query.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "hnswlib.h"

static long computed = 0;
static hnswlib::DISTFUNC<float> distance_of = nullptr;

static float counted(const void *a, const void *b, const void *dims) {
    computed++;
    return distance_of(a, b, dims);
}

class Space : public hnswlib::L2Space {
   public:
    explicit Space(size_t dims) : L2Space(dims) { distance_of = L2Space::get_dist_func(); }
    hnswlib::DISTFUNC<float> get_dist_func() override { return counted; }
};

static std::vector<float> read_all(const char *path) {
    std::vector<float> out;
    FILE *file = fopen(path, "rb");
    if (file == nullptr) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    out.resize((size_t)ftell(file) / sizeof(float));
    rewind(file);
    if (fread(out.data(), sizeof(float), out.size(), file) != out.size()) {
        exit(1);
    }
    fclose(file);
    return out;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "count BASE QUERY DIMS\n");
        return 2;
    }
    const size_t k = 10, dims = (size_t)atoi(argv[3]);
    std::vector<float> base = read_all(argv[1]), query = read_all(argv[2]);
    const size_t rows = base.size() / dims, queries = query.size() / dims;
    Space space(dims);
    hnswlib::HierarchicalNSW<float> index(&space, rows, 16, 200);
    for (size_t i = 0; i < rows; i++) {
        index.addPoint(&base[i * dims], i);
    }
    std::vector<float> kth(queries);
    for (size_t q = 0; q < queries; q++) {
        std::vector<float> d(rows);
        for (size_t i = 0; i < rows; i++) {
            d[i] = distance_of(&query[q * dims], &base[i * dims], &dims);
        }
        std::nth_element(d.begin(), d.begin() + (k - 1), d.end());
        kth[q] = d[k - 1];
    }
    for (size_t ef : {10, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128}) {
        size_t right = 0;
        index.setEf(ef);
        computed = 0;
        for (size_t q = 0; q < queries; q++) {
            auto found = index.searchKnn(&query[q * dims], k);
            for (; !found.empty(); found.pop()) {
                right += found.top().first <= kth[q];
            }
        }
        printf("ef %3zu  recall %.4f  distances %.1f\n", ef, (double)right / (double)(queries * k),
               (double)computed / (double)queries);
    }
}
