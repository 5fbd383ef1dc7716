# Trains and measures again what the README, the cards and docs/evidence.md report. Run it from the root of a checkout:
#
#   make -f benchmarks/reproduce.mk               everything on the embedded domains; about 75 minutes on two cores
#   make -f benchmarks/reproduce.mk -n            print the command lines only
#   make -f benchmarks/reproduce.mk shift gaze    these steps, and the steps that they need
#   make -f benchmarks/reproduce.mk report        a report of the results that exist now
#   make -f benchmarks/reproduce.mk DATA=FOLDER   also on real images: FOLDER holds eyes_real and eyes_synthetic
#
# A step that is done is skipped; training that was stopped goes on from its last checkpoint. With -k, the other steps
# go on where one fails. What a step prints is in a .log file beside its result. To repeat a step, delete its result.
SEED ?= 0
OUT ?= reproduction/seed-$(SEED)
DATA ?=
TRAINING_OPTIONS ?=# added to every training, such as --limit 500
MEASURING_OPTIONS ?=# added to every measure of realism and shift

.DELETE_ON_ERROR:
export PYTHONPATH := $(CURDIR)$(addprefix :,$(PYTHONPATH))
UNSEEN := $(shell expr $(SEED) + 10)# the seed of renders that no training has used

# Train into the folder NAME of the target NAME.trained. A run that is stopped also exits with 0, but then it prints no
# best refiner.
define train
accelerate launch -m train_accelerate $(OPTIONS_$*) --seed $(SEED) --output $(OUT)/$* $(TRAINING_OPTIONS) \
    $(if $(wildcard $(OUT)/$*/checkpoints/step-*),--resume) >> $(OUT)/$*.log 2>&1
@tail -n 20 $(OUT)/$*.log | grep -q '^Best refiner'
@touch $@
endef
evaluate = simgan evaluate $(1) --output $@ > $(basename $@).log 2>&1
measure = $(call evaluate,$(1) --seed $(UNSEEN) $(MEASURING_OPTIONS))
trained = $(foreach name,$(1),$(OUT)/$(name).trained)

MODELS := eyes-simulated no-regularization shuffled hands-simulated
MEASURES := realism shift realism-hands shift-hands
STEPS := gaze hands ablation speed
ifneq ($(DATA),)
MODELS += eyes eyes-without-p00
MEASURES += realism-real shift-real
STEPS += gaze-real
endif
.PHONY: all report $(MODELS) $(MEASURES) $(STEPS)
all: $(MODELS) $(MEASURES) $(STEPS)
	$(report)
report:
	$(report)
# An experiment lies in the folder of its model, and is reported with it.
report = simgan report --output $(OUT)/report \
    $$(ls -d $(MODELS:%=$(OUT)/%) $(MEASURES:%=$(OUT)/%.json) $(OUT)/ablation 2> /dev/null)

$(MODELS): %: $(OUT)/%.trained
$(MEASURES): %: $(OUT)/%.json
gaze: $(OUT)/eyes-simulated/gaze.json
hands: $(OUT)/hands-simulated/hands.json
gaze-real: $(OUT)/eyes/gaze.json
ablation: $(OUT)/ablation/ablation.json
speed: $(OUT)/speed.log

# Refiners on the embedded domains. Two are controls that must not help gaze; no bound on how
# far they move annotations chooses the refiner that they keep.
$(OUT):
	mkdir -p $@
$(OUT)/%.trained: | $(OUT)
	$(train)
UNBOUND := --max-shift 99 --max-median-shift 99 --max-single-shift 99 --max-faded 99 --max-faded-95 99
CONTROL := --preset eyes --steps 600 $(UNBOUND)
OPTIONS_eyes-simulated := --preset eyes --steps 2400 --evaluate-every 300
OPTIONS_no-regularization := $(CONTROL) --regularization-weight 0
# No iris is left in shuffled images to pair them by.
OPTIONS_shuffled := $(CONTROL) --no-preparation --real shuffled:camera:eyes
OPTIONS_hands-simulated := --preset hands --steps 500 --evaluate-every 100 --limit 2000

$(OUT)/realism.json: $(call trained,eyes-simulated)
	$(call measure,realism simulator:eyes camera:eyes --model $(OUT)/eyes-simulated)
$(OUT)/shift.json: $(call trained,eyes-simulated)
	$(call measure,shift simulator:eyes --model $(OUT)/eyes-simulated)
$(OUT)/realism-hands.json: $(call trained,hands-simulated)
	$(call measure,realism simulator:hands camera:hands --model $(OUT)/hands-simulated --limit 300)
$(OUT)/shift-hands.json: $(call trained,hands-simulated)
	$(call measure,shift simulator:hands --model $(OUT)/hands-simulated --limit 300)
$(OUT)/eyes-simulated/gaze.json: $(call trained,eyes-simulated no-regularization shuffled)
	$(call evaluate,gaze simulator:eyes camera:eyes \
	    --model $(OUT)/eyes-simulated $(OUT)/no-regularization $(OUT)/shuffled --train-real camera:eyes \
	    --arms synthetic refined synthetic+blur+noise+contrast 4x-synthetic 4x-refined real --finetune 100 1000 \
	    --seeds 3 --width 0.25 --steps 400 --limit 3000 --test-limit 1000)
$(OUT)/hands-simulated/hands.json: $(call trained,hands-simulated)
	$(call evaluate,hands simulator:hands camera:hands --model $(OUT)/hands-simulated \
	    --arms synthetic refined --seeds 2 --steps 200 --limit 500 --test-limit 300)
$(OUT)/ablation/ablation.json: | $(OUT)
	simgan ablate $(@D) --seeds 2 --steps 200 > $(OUT)/ablation.log 2>&1
$(OUT)/speed.log: | $(OUT)
	for name in refine training simulators data; do python benchmarks/$$name.py || exit 1; done > $@ 2>&1

# Real eyes: MPIIGaze, and the same without p00, on whom gaze is tested. The shipped `eyes` is of an earlier recipe; these
# are today's, with our own renders beside SynthesEyes', as from those alone the refiner stays the identity.
SYNTHESEYES := syntheseyes:$(DATA)/eyes_synthetic/syntheseyes_grey.parquet
MPIIGAZE := folder:$(DATA)/eyes_real/mpiigaze
P00 := folder:$(DATA)/eyes_real/mpiigaze_p00
REAL := --preset eyes --steps 600 --synthetic simulator:eyes $(SYNTHESEYES)
OPTIONS_eyes := $(REAL) --real $(MPIIGAZE) $(P00)
OPTIONS_eyes-without-p00 := $(REAL) --real $(MPIIGAZE)
$(call trained,eyes eyes-without-p00): $(addprefix $(DATA)/,eyes_synthetic/syntheseyes_grey.parquet \
    eyes_real/mpiigaze eyes_real/mpiigaze_p00)
$(OUT)/realism-real.json: $(call trained,eyes)
	$(call evaluate,realism $(SYNTHESEYES) $(MPIIGAZE) --model $(OUT)/eyes --seed $(SEED) $(MEASURING_OPTIONS))
$(OUT)/shift-real.json: $(call trained,eyes)
	$(call evaluate,shift $(SYNTHESEYES) --model $(OUT)/eyes --seed $(SEED) $(MEASURING_OPTIONS))
$(OUT)/eyes/gaze.json: $(call trained,eyes eyes-without-p00)
	$(call evaluate,gaze $(SYNTHESEYES) $(P00) --model $(OUT)/eyes $(OUT)/eyes-without-p00 --seeds 5 \
	    --arms synthetic refined synthetic+blur --augment shift contrast noise --pitch 29 --yaw 34 --test-limit 1500)
