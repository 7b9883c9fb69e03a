"""Public traces that are known: where their owners keep them, under which licence, how large, and what proves that a copy is theirs.

An address stands here only if the owner's own repository or documentation names it (`confirmed`), or if it is a file of the owner's
repository at a commit. Sums are the owner's, measured on such a file, or git's name of the file in that commit. What owners give only to
those who ask, sign or log in stands here with the way to it, and is never fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from traces.errors import InvalidInput
from traces.licences import ALIBABA

_CC_BY = "CC-BY-4.0"
_AZURE = "Azure/AzurePublicDataset"
_AZURE_AT = "b469a113cedca53ddc3bdea71a143dc4b7d8700c"
_AZURE_BLOBS = "https://azurepublicdatasettraces.blob.core.windows.net"
_MOONCAKE = ("kvcache-ai/Mooncake", "3b5a594133958449a1feaf1c9e0fc1b553e34a28")
_LIBCACHESIM = ("1a1a11a/libCacheSim", "aa0fc40914b2b786f4b9f4dafb099f8f332b216a")
_TWITTER = ("twitter/cache-trace", "1c503676d6972d4394a360e09162149a6c00f516")
_CLUSTERDATA = ("alibaba/clusterdata", "7a6c496e4f4b6ce6150be8f881cb051bf2abff42")
_SWIM = ("SWIMProjectUCB/SWIM", "1277c5168034c9e4a690a07cbb1d498619000da6")
_GPU_2020 = "https://aliopentrace.oss-cn-beijing.aliyuncs.com/v2020GPUTraces"
_PAI = "an archive: unpack it, and read the csv within with --format alibaba_gpu_2020 and --option sort=true"
_SPLITWISE = "Patel et al., Splitwise, ISCA 2024"
_DYNAMO = "Stojkovic et al., DynamoLLM, HPCA 2025"
_MOONCAKE_CITE = "Qin et al., Mooncake, FAST 2025"
_TWITTER_CITE = "Yang, Yue, Rashmi, A large scale analysis of hundreds of in-memory cache clusters at Twitter, OSDI 2020"
_CLOUDPHYSICS_CITE = "Waldspurger et al., SHARDS, FAST 2015; Yang et al., libCacheSim"
_SWIM_CITE = "Chen et al., MASCOTS 2011; Chen et al., VLDB 2012"
_MLAAS_CITE = "Weng et al., MLaaS in the Wild, NSDI 2022"


@dataclass(frozen=True)
class Known:
    """One file. `format`: how it is read, "" where it must be unpacked or converted first (`mind`). Without addresses, `ask` says how to
    get it.
    """

    name: str
    what: str
    license: str
    citation: str
    confirmed: str
    format: str = ""
    addresses: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str = ""
    git_blob: str = ""
    """Git's SHA-1 of the file, as a tree of the owner's repository names it."""
    mind: str = ""
    ask: str = ""

    @property
    def file_name(self) -> str:
        return self.addresses[0].rsplit("/", 1)[-1] if self.addresses else ""


def _in_git(repository: str, commit: str, path: str) -> tuple[str, ...]:
    return (f"https://raw.githubusercontent.com/{repository}/{commit}/{quote(path)}",)


def _azure_file(path: str) -> tuple[str, ...]:
    return _in_git(_AZURE, _AZURE_AT, path)


_ENTRIES = (
    Known(
        "azure-llm-2023-code", "LLM inference in Azure, code completion, one hour", _CC_BY, _SPLITWISE,
        f"{_AZURE} AzureLLMInferenceDataset2023.md",
        "azure_llm", _azure_file("data/AzureLLMInferenceTrace_code.csv"), 320_117,
        "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
    ),
    Known(
        "azure-llm-2023-conv", "LLM inference in Azure, conversation, one hour", _CC_BY, _SPLITWISE,
        f"{_AZURE} AzureLLMInferenceDataset2023.md",
        "azure_llm", _azure_file("data/AzureLLMInferenceTrace_conv.csv"), 719_188,
        "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
    ),
    Known(
        "azure-llm-2024-code", "LLM inference in Azure, code completion, one week", _CC_BY, _DYNAMO,
        f"{_AZURE} AzureLLMInferenceDataset2024.md",
        "azure_llm", (f"{_AZURE_BLOBS}/azurellminfererencetrace/AzureLLMInferenceTrace_code_1week.csv",),
    ),
    Known(
        "azure-llm-2024-conv", "LLM inference in Azure, conversation, one week", _CC_BY, _DYNAMO,
        f"{_AZURE} AzureLLMInferenceDataset2024.md",
        "azure_llm", (f"{_AZURE_BLOBS}/azurellminfererencetrace/AzureLLMInferenceTrace_conv_1week.csv",),
    ),
    Known(
        "azure-lmm-2025", "multimodal inference in Azure, one week", _CC_BY, "Qiu et al., ModServe, SoCC 2025",
        f"{_AZURE} AzureLMMInferenceDataset2025.md", "azure_llm", _azure_file("data/AzureLMMInferenceTrace_multimodal.csv.gz"),
        git_blob="7e2a6719ff42dc50b990ba55ca941ab75290ffcb",
    ),
    Known(
        "azure-functions-2019", "invocations of Azure Functions by minute, two weeks", _CC_BY,
        "Shahrad et al., Serverless in the Wild, ATC 2020",
        f"{_AZURE} AzureFunctionsDataset2019.md", "",
        (f"{_AZURE_BLOBS}/azurepublicdatasetv2/azurefunctions_dataset2019/azurefunctions-dataset2019.tar.xz",),
        mind="an archive: unpack it and read the folder as azure_functions_2019, or some of it with the option days=1-3",
    ),
    Known(
        "azure-functions-2021", "each invocation of Azure Functions, two weeks", _CC_BY,
        "Zhang et al., Faster and Cheaper Serverless, SOSP 2021",
        f"{_AZURE} AzureFunctionsInvocationTrace2021.md", "", _azure_file("data/AzureFunctionsInvocationTraceForTwoWeeksJan2021.rar"),
        git_blob="23d914f5c18a7ca6445489ef8f0be6d3e88b895a", mind="a rar 5 archive: unpack it with RARLAB's unrar",
    ),
    Known(
        "azure-blobs-2020", "blob accesses of Azure Functions, two weeks", _CC_BY, "Romero et al., Faa$T, SoCC 2021",
        f"{_AZURE} AzureFunctionsBlobDataset2020.md", "",
        (f"{_AZURE_BLOBS}/azurepublicdatasetv2/azurefunctions_dataset2020/azurefunctions-accesses-2020.csv.bz2",),
        mind="csv in bz2: read it as csv with arrival=Timestamp:ms, target=AnonBlobName, resp_bytes=BlobBytes",
    ),
    Known(
        "mooncake-conversation", "LLM requests of Kimi with prefix hashes, one hour", "Apache-2.0", _MOONCAKE_CITE,
        f"{_MOONCAKE[0]} FAST25-release/README.md", "mooncake", _in_git(*_MOONCAKE, "FAST25-release/traces/conversation_trace.jsonl"),
        3_029_533,
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df", "5a371794b81d7fc7487ec8a02a2c631bcc7fbdf8",
    ),
    Known(
        "mooncake-synthetic", "LLM requests of public datasets with Poisson arrivals", "Apache-2.0", _MOONCAKE_CITE,
        f"{_MOONCAKE[0]} FAST25-release/README.md", "mooncake", _in_git(*_MOONCAKE, "FAST25-release/traces/synthetic_trace.jsonl"),
        1_136_313,
        "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131", "e4838049c0dcfc358a5f24ab08251279475cba94",
    ),
    Known(
        "mooncake-toolagent", "LLM requests of tools and agents with prefix hashes, one hour", "Apache-2.0", _MOONCAKE_CITE,
        f"{_MOONCAKE[0]} FAST25-release/README.md", "mooncake", _in_git(*_MOONCAKE, "FAST25-release/traces/toolagent_trace.jsonl"),
        git_blob="b765599d1e0828b37f68d481563c385d3c11de54",
    ),
    Known(
        "mooncake-arxiv", "LLM requests of the technical report of 2024", "Apache-2.0", _MOONCAKE_CITE,
        f"{_MOONCAKE[0]} FAST25-release/README.md",
        "mooncake", _in_git(*_MOONCAKE, "FAST25-release/arxiv-trace/mooncake_trace.jsonl"),
        git_blob="d68d1c6ce27b35a168edc235d36d0202d233f0f2",
    ),
    Known(
        "burstgpt-1", "ChatGPT and GPT-4 requests of a campus, two months, 1.4 million", _CC_BY, "Wang et al., BurstGPT, KDD 2025",
        "HPMLL/BurstGPT README.md", "burstgpt", _in_git("HPMLL/BurstGPT", "e92f533b6c85ea7f4164fb3d97d1aa2c3edacbc8",
        "data/BurstGPT_1.csv"),
        git_blob="f95dd2c84454b067fdd0973858c55ecfe31bdad7",
    ),
    Known(
        "cloudphysics-vscsi", "disk requests of a virtual machine, two hours", _CC_BY, _CLOUDPHYSICS_CITE, f"{_LIBCACHESIM[0]} data/",
        "vscsi",
        _in_git(*_LIBCACHESIM, "data/cloudPhysicsIO.vscsi"), 3_643_904,
        "3e67d66a07e9292bb47f6c765eb24ab3ea3f1f7de7d64a1b9e8c28b38b7439b9", "0bc70f8a79202af9bb03e05f5d9b865fc13873b3",
    ),
    Known(
        "cloudphysics-oracle", "the same as oracleGeneral, one-second stamps", _CC_BY, _CLOUDPHYSICS_CITE, f"{_LIBCACHESIM[0]} data/",
        "oracle_general", _in_git(*_LIBCACHESIM, "data/cloudPhysicsIO.oracleGeneral.bin"), 2_732_928,
        "65438dd7b2d3dec7ffe8a5c9348045da92de3311f339b7b59c9a0a44e6050dea", "882f5fb0340cfa42a87ecc7add50e5b29a86ab91",
    ),
    *(
        Known(
            f"twitter-{cluster}", f"a sample of Twitter's cache cluster {int(cluster)}, March 2020", _CC_BY, _TWITTER_CITE,
            f"{_TWITTER[0]} README.md", "twitter_cache", _in_git(*_TWITTER, f"samples/2020Mar/cluster{cluster}"), git_blob=blob,
        )
        for cluster, blob in (
            ("012", "f06b2902042029757bf1e9782ad2ae9497c8efbf"),
            ("045", "4323b4700fd0a1eaf623196f14b986103ddb84b9"),
            ("052", "c7c88fabe64007b53061eb1aa531b4bee75ed04b"),
        )
    ),
    Known(
        "elastic-apache", "Apache log of a site, four days thinned to one minute an hour", "Apache-2.0", "",
        "elastic/examples Common Data Formats",
        "access_log", _in_git("elastic/examples", "6d86454ebb7a850bcd7e80abe86fe683370018a6",
        "Common Data Formats/apache_logs/apache_logs"),
        2_370_789, "f15c31e905f86c7b4b6ab44aee74d0a2086dce89f010187d983edea7ef0364ef", "94bf224f30abf42f3707db4fc02c90362e0ba338",
        mind="it holds the addresses of its clients, which the importer hides",
    ),
    Known(
        "alibaba-gpu-2023-pods", "pods of a GPU cluster, 149 days", ALIBABA, "Weng et al., Beware of Fragmentation, ATC 2023",
        f"{_CLUSTERDATA[0]} cluster-trace-gpu-v2023", "alibaba_gpu_2023", _in_git(*_CLUSTERDATA,
        "cluster-trace-gpu-v2023/csv/openb_pod_list_default.csv"),
        575_468, "1ee7ed79c27a3b0861cda8ddba86a004c6aba904caafa329a76ae93ca63834a8",
    ),
    Known(
        "alibaba-genai-2026", "image generation requests, 23 days", ALIBABA, "Lin et al., SoCC 2025",
        f"{_CLUSTERDATA[0]} cluster-trace-v2026-GenAI",
        "alibaba_genai_2026", _in_git(*_CLUSTERDATA, "cluster-trace-v2026-GenAI/lora_request_trace.csv"), 2_012_418,
        "263fb88f1095f62d360cf89ded8cfc24fa2c5d111c1b16e7aaa9ccbfc4b37d78",
    ),
    Known(
        "alibaba-dlrm-2025", "instances of recommendation services with GPUs apart, 31 days", ALIBABA,
        "Yang et al., GPU-Disaggregated Serving, NSDI 2025",
        f"{_CLUSTERDATA[0]} cluster-trace-gpu-v2025", "alibaba_dlrm_2025", _in_git(*_CLUSTERDATA,
        "cluster-trace-gpu-v2025/disaggregated_DLRM_trace.csv"),
        2_118_900, "fb17bc4b3f412d5280f70f04a1bdf2adfc4429d1e61237a5b106e86206414295",
    ),
    *(
        Known(
            f"alibaba-gpu-2020-{table}", f"{table} of a GPU cluster of 6,500 GPUs, two months", ALIBABA, _MLAAS_CITE,
            f"{_CLUSTERDATA[0]} cluster-trace-gpu-v2020/README.md", "", (f"{_GPU_2020}/pai_{table}_table.tar.gz",), sha256=sha256,
            mind=mind,
        )
        for table, sha256, mind in (
            ("job", "5aad7f7caac501136d14ed6a48e40546f825d7b0617a3a4f337e2348fe0a6cb0", _PAI),
            ("task", "cd1d6dc3215d2a8607ccf6b6dd952b5db776df86926c73259fea7c1499ac40e5", _PAI),
            (
                "instance", "1bf1e423a7ce3f8d086699801c362fd56a7182abdb234139e5ebbed97995ca06",
                "an archive: unpack it; the columns' names are in the repository",
            ),
        )
    ),
    *(
        Known(
            f"swim-fb-{name}", "MapReduce jobs of Facebook, 24 sampled hours", "BSD-3-Clause", _SWIM_CITE,
            f"{_SWIM[0]} workloadSuite", "swim",
            _in_git(*_SWIM, f"workloadSuite/FB-{name.replace('-', '_samples_24_times_1hr_')}.tsv"), size, sha256,
        )
        for name, size, sha256 in (
            ("2009-0", 198_743, "5033ea98faed398b132957e4555c9ba88653d1ffaac470f370b761b79cd44c19"),
            ("2009-1", 223_858, "b6056e0f7686b475935ce613a96b1916c84daf52dfa1aff82172d87900e961d8"),
            ("2010-0", 898_688, "65f758ecd0495955de30c560b2d57fc351c9b2c89117b82f16b2f8f30fb4e9d9"),
        )
    ),
    Known(
        "coflow-fb2010", "coflows of a Facebook cluster, one hour", "none given; the owner asks for citation",
        "Chowdhury et al., Varys, SIGCOMM 2014",
        "coflow/coflow-benchmark", "coflow", _in_git("coflow/coflow-benchmark", "90fc587167b8501ecc42d581577a7d0fc8491c7e",
        "FB2010-1Hr-150-0.txt"),
        137_746, "cdd0d94d26c6ab10ce3634cf6a0f836859578e914de6b6faa980a245237dbc6e",
    ),
    Known(
        "twitter-full", "Twitter's 54 cache clusters, one week, 2.8 TB", _CC_BY, _TWITTER_CITE, f"{_TWITTER[0]} README.md", "twitter_cache",
        ask="pick a cluster's parts at https://ftp.pdl.cmu.edu/pub/datasets/twemcacheWorkload/open_source",
    ),
    Known(
        "meta-kv-202206", "Meta's key-value cache, five days of 5 GB", "Apache-2.0", "Berg et al., CacheLib, OSDI 2020",
        "facebook/CacheLib website/docs/Cache_Library_User_Guides/Cachebench_FB_HW_eval.md", "meta_kv",
        ask="aws s3 cp --no-sign-request --recursive s3://cachelib-workload-sharing/pub/kvcache/202206/ ./",
    ),
    Known(
        "alibaba-cluster-2018", "batch jobs and services of 4,000 machines, eight days, 48 GB", ALIBABA, "Alibaba ClusterData201808",
        f"{_CLUSTERDATA[0]} cluster-trace-v2018/trace_2018.md", "alibaba_cluster_2018",
        ask="the owner asks for a short survey: http://alibabadeveloper.mikecrm.com/BdJtacN",
    ),
    Known(
        "alibaba-block-2020", "disk requests of 1,000 virtual disks, one month, 751 GB", _CC_BY,
        "Li et al., An In-Depth Analysis of Cloud Block Storage Workloads, IISWC 2020",
        "alibaba/block-traces README.md", "alibaba_block",
        ask="the owner asks for a short survey: https://yida.alibaba-inc.com/o/alibaba_block_traces_2020_survey",
    ),
    Known(
        "google-borg-2019", "jobs and tasks of eight Borg cells, one month, 2.4 TiB", _CC_BY,
        "Tirmazi et al., Borg: the Next Generation, EuroSys 2020", "google/cluster-data ClusterData2019.md", "google_borg_2019",
        ask="query it in BigQuery and export collection_events or instance_events as csv or JSON: "
        "https://github.com/google/cluster-data/blob/master/ClusterData2019.md",
    ),
    Known(
        "msr-cambridge", "disk requests of 13 enterprise servers, one week", "SNIA's, to be agreed to",
        "Narayanan et al., Write Off-Loading, FAST 2008",
        "cacheMon/cache_dataset README.md", "msr_cambridge", ask="agree to the licence at https://iotta.snia.org/traces/block-io/388",
    ),
    Known(
        "tencent-photo", "a photo cache of Tencent, eight days", "SNIA's, to be agreed to",
        "Zhou et al., Demystifying Cache Policies, ICS 2018",
        "cacheMon/cache_dataset README.md", ask="agree to the licence at https://iotta.snia.org/traces/parallel/27476",
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, Known] = {known.name: known for known in _ENTRIES}


def known_trace(name: str) -> Known:
    """Raises InvalidInput for an unknown name, and for a trace that has to be asked for."""
    known = CATALOGUE.get(name)
    if known is None:
        near = [each for each in CATALOGUE if name.split("-")[0] in each]
        raise InvalidInput(
            f"trace {name!r} is not in the catalogue; expected one of {', '.join(near or CATALOGUE)}; see trace fetch --list"
        )
    if known.ask:
        raise InvalidInput(f"{name}: not fetched: {known.what}, licence {known.license}; expected you to get it yourself: {known.ask}")
    return known
