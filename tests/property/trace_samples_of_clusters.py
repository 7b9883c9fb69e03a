"""Samples of the formats of clusters: jobs, calls, flows, disks and usage. See trace_samples."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

POD_LIST = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
    "openb-pod-0000,12000,16384,1,1000,,LS,Running,0,12537496,0\nopenb-pod-0001,6000,12288,1,460,T4|P100,BE,Failed,427061,12902960,427070\n"
    "openb-pod-0002,20000,65536,8,1000,,LS,Pending,2759674,2759680,\n"
)
PAI_JOBS = (
    "4b3f04b66a525d2df903eb16,8cb3bec23d14,58540f191766,Terminated,4550879.0,4551416.0\n"
    "4b3f04b66a525d2df903eb17,8cb3bec23d15,58540f191766,Failed,4550880.0,\n4b3f04b66a525d2df903eb18,8cb3bec23d16,58540f191766,Waiting,,\n"
)
PAI_TASKS = (
    "4f057009a5d481acec67b088,tensorflow,1.0,Terminated,1739162.0,1739200.0,600.0,29.296875,50.0,MISC\n"
    "4f057009a5d481acec67b088,ps,2.0,Running,1739163.0,,400.0,,,T4\n"
)
BATCH_2017 = "6459,6524,3,4,15740,Terminated,50,0.007956928\n6457,6450,3,5,1,Waiting,,\n-5,10,4,7,393,Failed,100,0.5\n"
BATCH_2018 = (
    "M1,1,j_1,1,Terminated,419379,419380,100.0,0.2\nR3_1_2,20,j_1,1,Terminated,419380,419400,50.0,0.59\n"
    "task_Nzg3ODAwNDgzMTAwNTc2NTQ2Mw==,1,j_2,2,Running,419381,0,,\n"
)
DLRM = (
    "instance_sn,role,app_name,cpu_request,cpu_limit,gpu_request,gpu_limit,rdma_request,rdma_limit,memory_request,memory_limit,"
    "disk_request,disk_limit,max_instance_per_node,creation_time,scheduled_time,deletion_time\n"
    "instance_7185,HN,app_0,12,12,1,1,25,25,120.0,120.0,680.0,800.0,8,,,\n"
    "instance_13574,CN,app_130,64,64,0,0,1,1,320.0,320.0,255.0,300.0,-1,1435629.0,1435630.0,1435760.0\n"
    "instance_13575,HN,app_130,8,8,2,2,1,1,40.0,40.0,255.0,300.0,-1,7.0,9.0,\n"
)
IMAGES = (
    "gmt_create,predict_type,predict_status,exec_time_seconds,groupId,prompt_length,negative_prompt_length,num_images_per_prompt,"
    "num_inference_steps,checkpoint_model_version_id,num_lora\n"
    "2024-11-15 16:57:50,TXT_2_IMG,SUCCEED,32.0,G0000,63.0,26.0,1.0,30.0,M0000,0\n"
    "2024-11-15 18:17:06,IMG_2_IMG,FAILED,0.0,G0001,93.0,,8.0,40.0,M0001,2\n2024-11-15 18:17:07,INPAINTING,PENDING,0.0,G0001,,,,,,1\n"
)
IMAGE_METRIC = (
    "timestamp_anon,value,container_ip,request_type\n1662859176.0,0.09,,API Requests\n1662859404.0,0.5,dfe00e98,Generative Requests\n"
    "1662859404.0,0.25,,API Requests\n"
)
CALLS_2021 = (
    ",traceid,timestamp,rpcid,um,rpctype,dm,interface,rt\n"
    "0,t1,219360,0.1,(?),http,a,i0,-20\n1,t1,219363,0.1.1,a,rpc,b,i1,13\n2,t1,219364,0.1.1,a,rpc,b,i1,-11\n"
    "3,t1,219365,0.1.1.1,b,mc,c,,0\n4,t2,219361,0,x,userDefined,a,,1\n5,t1,219365,0.1.1.1,b,mc,c,,0\n"
)
CALLS_2022 = (
    "timestamp,traceid,service,rpc_id,rpctype,um,uminstanceid,interface,dm,dminstanceid,rt\n"
    "115352,T_1,S_1,0.1,rpc,MS_1,MS_1_POD_0,xOuy,MS_2,MS_2_POD_244,2.5\n115353,T_1,S_1,0.1,rpc,MS_1,MS_1_POD_0,xOuy,MS_2,MS_2_POD_244,-1.5\n"
    "115354,T_1,S_1,0.1.1,db,MS_2,MS_2_POD_244,,MS_3,,0.25\n"
)
BORG = (
    '{"time":"0","type":"0","collection_id":"330587160469","scheduling_class":"2","collection_type":"0","priority":"200","user":"u1",'
    '"collection_logical_name":"l1"}\n'
    '{"time":"700000001","type":"0","collection_id":"330587160470","scheduling_class":"2","collection_type":"1","priority":"103","user":"u1",'
    '"collection_logical_name":"l2"}\n'
    '{"time":"700000005","type":"3","collection_id":"330587160470","scheduling_class":"2","collection_type":"1","priority":"103","user":"u1",'
    '"collection_logical_name":"l2"}\n'
)
BORG_INSTANCES = (
    "time,type,collection_id,scheduling_class,missing_type,collection_type,priority,alloc_collection_id,instance_index,machine_id,"
    "alloc_instance_index,resource_request.cpus,resource_request.memory\n"
    "600000000,SUBMIT,330587160469,2,,0,200,0,4,55,-1,0.0206,0.0144\n600000009,SCHEDULE,330587160469,2,,0,200,0,4,55,-1,0.0206,0.0144\n"
    "9223372036854775807,SUBMIT,330587160471,2,,0,200,0,4,55,-1,,\n"
)
SWIM = "job0\t49\t49\t740773\t2339561\t627471\njob1\t101\t52\t736346\t0\t432269\n"
COFLOW = "5 3\n1 0 1 4 1 3:1.0\n2 10833 2 0 1 1 4:48.5\n3 13122 3 0 1 2 2 3:4.0 4:1\n"
IOLOG_2 = (
    "fio version 2 iolog\n/tmp/f add\n/tmp/f open\n/tmp/f write 0 4096\n/tmp/f wait 1000 0\n/tmp/f read 4096 8192\n/tmp/f wait 50 0\n"
    "/tmp/f sync 0 0\n/tmp/f wait 200 0\n/tmp/f trim 8192 4096\n/tmp/f close\n"
)
IOLOG_3 = (
    "fio version 3 iolog\n2 Nvme1n1 add\n872 Nvme1n1 open\n878 Nvme1n1 write 0 16384\n888 Nvme1n1 read 512 16384\n"
    "891 Nvme1n1 datasync 0 0\n10001677 Nvme1n1 close\n"
)
BLKPARSE = (
    "  8,0    3        1     0.000000000   697  G   W 223490 + 8 [kjournald]\n"
    "  8,0    3        2     0.000001829   697  P   R [kjournald]\n"
    "  8,0    3        3     0.000002197   697  Q   W 223490 + 8 [kjournald]\n"
    "  8,0    3        4     0.000004197   697  Q  FWFS 223500 + 16 [my proc]\n"
    "  8,0    3        5     0.000005197   697  Q  FN [kjournald]\n"
    "  8,0    3        6     0.000006197   697  Q  RA 4096 + 8 [fio]\n"
    "  8,0    3        0     0.000006200     0  m   N cfq697 insert_request\n"
    "  8,0    3        7     0.000007000   697  A   R 223490 + 8 <- (8,1) 223427\n"
    "  8,0    3        8     0.000007100   697  X   W 223490 / 223494 [x]\n"
    "  8,0    3        9     0.000009197   697  Q  DS 8192 + 64 [fio]\n"
    "  8,0    3       10     0.100006197     0  C   W 223490 + 8 [0]\n"
    "CPU0 (8,0):\n Reads Queued:           0,        0KiB  Writes Queued:           1,        4KiB\n"
)
ALIBABA_BLOCK = "419,W,8792731648,16384,1577808144360767\n725,R,59110326272,360448,1577808144360813\n419,R,0,4096,1577808144370813\n"
TENCENT_BLOCK = "1538323199,105352008,584,1,1576\n1538323199,0,8,0,1576\n1538323200,64,16,1,1283\n"
BITBRAINS = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\tMemory capacity provisioned [KB];\t"
    "Memory usage [KB];\tDisk read throughput [KB/s];\tDisk write throughput [KB/s];\tNetwork received throughput [KB/s];\t"
    "Network transmitted throughput [KB/s]\n"
    "1376314846;\t4;\t11703.998;\t10912.027;\t93.23;\t67108864;\t6129274.4;\t0.133;\t20812.33;\t0.0;\t1.333\n"
    "1376315146;\t4;\t11703.998;\t10890.57;\t93.05;\t67108864;\t7755105.0;\t1.333;\t19967.87;\t0.0;\t1.4\n"
)


def opendc() -> dict[str, bytes]:
    tasks = {
        "id": pa.array([7, 9], pa.int32()),
        "submission_time": [1_376_314_546_000, 1_376_314_846_000],
        "duration": [900_000, 300_000],
        "cpu_count": pa.array([1, 2], pa.int32()),
    }
    fragments = {
        "id": pa.array([7, 7, 9, 7], pa.int32()),
        "duration": [300_000, 600_000, 300_000, 300_000],
        "cpu_usage": [0.5, 11.7, 250.0, 3.0],
    }
    return {"tasks.parquet": _parquet(tasks), "fragments.parquet": _parquet(fragments)}


def _parquet(columns: dict[str, object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()
