import keras
import numpy as np
import pytest
from absl.testing import parameterized

import keras_lip as kl
from tests.lipschitz_test_case import LipschitzTestCase
from tests.lipschitz_test_case import to_numpy
from tests.load_script import load_experiment
from tests.marks import on_pytorch_alone

pytestmark = pytest.mark.slow


class RecipesTest(LipschitzTestCase):
    def recipes(self):
        module = load_experiment("recipes")
        return module, list(module.read_recipes())

    @on_pytorch_alone
    def test_every_recipe_is_whole(self):
        module, names = self.recipes()
        for name in names:
            recipe = module.load_recipe(name, "cifar10")
            optimizer = recipe.optimizer["class"]
            is_known = hasattr(keras.optimizers, optimizer)
            if not is_known or (
                optimizer == "ScheduleFreeAdamW"
                and keras.backend.backend() != "jax"
            ):
                message = "wrong averages" if is_known else "must be one of"
                with self.assertRaisesRegex(SystemExit, message):
                    module.build_optimizer(recipe, 1000)
                continue
            optimizer = module.build_optimizer(recipe, 1000)
            rates = [
                float(
                    keras.ops.convert_to_numpy(optimizer._learning_rate(step))
                )
                for step in range(0, 1001, 10)
            ]
            self.assertAllClose(max(rates), recipe.learning_rate, 1e-5)
            if recipe.schedule["kind"] != "constant":
                self.assertLess(rates[-1], 0.011 * recipe.learning_rate)
            if recipe.loss["class"] != "CurvatureCrossentropy":
                module.build_loss(recipe)

    @on_pytorch_alone
    def test_small_start_changes_kernels_but_no_function(self):
        module = load_experiment("recipes")
        recipe = module.load_recipe("small-bcop", "digits")
        self.assertTrue(recipe.small_start)
        networks = []
        for small in (False, True):
            keras.utils.set_random_seed(0)
            recipe = module.dataclasses.replace(recipe, small_start=small)
            networks.append(module.build_network(recipe, "digits"))
        ratios = [
            np.linalg.norm(to_numpy(small)) / np.linalg.norm(to_numpy(weight))
            for weight, small in zip(
                *(network.trainable_weights for network in networks),
                strict=True,
            )
            if "free_" in weight.name
        ]
        # 8x8 digits have 4 channels behind the first downsampling, and the
        # dense layer 2 x 2 x 32 inputs.
        heights = np.array([16, 16, 64, 64, 128, 100])
        self.assertAllClose(ratios, heights**-0.5)
        x = self.rng.uniform(0, 1, (3, 8, 8, 1)).astype("float32")
        self.assertAllClose(networks[1](x), networks[0](x), 1e-5)

    def test_kernel_decay_is_that_of_sgd_in_pytorch(self):
        module = load_experiment("recipes")
        recipe = module.load_recipe("lipconvnet-5", "cifar10")
        self.assertEqual(recipe.kernel_decay, 0.0005)
        self.assertNotIn("weight_decay", recipe.optimizer)
        rate, decay, momentum = 0.1, 0.5, recipe.optimizer["momentum"]
        recipe = module.dataclasses.replace(recipe, kernel_decay=decay)
        model = kl.models.LipschitzSequential(
            [
                keras.Input((4, 4, 2)),
                kl.layers.SOCConv2D(2, 3),
                keras.layers.Flatten(),
                kl.layers.UnitNormDense(8),
                kl.layers.CurvatureHead(3, 4),
            ]
        )
        for layer in (model.layers[0], model.layers[2]):
            layer.bias.assign(np.ones(layer.bias.shape))
        module.add_kernel_decay(model, recipe)
        start = [to_numpy(weight) for weight in model.trainable_weights]
        model.compile(keras.optimizers.SGD(rate, momentum=momentum), "mse")
        # Weights of zero leave no other gradient.
        for _ in range(3):
            model.fit(
                np.ones((2, 4, 4, 2)),
                np.ones((2, 3)),
                sample_weight=np.zeros(2),
                verbose=0,
            )
        factor, velocity = 1.0, 0.0
        for _ in range(3):
            velocity = momentum * velocity + decay * factor
            factor -= rate * velocity
        kernels = 0
        for weight, old in zip(model.trainable_weights, start, strict=True):
            is_kernel = weight.name == "free_kernel"
            kernels += is_kernel
            self.assertAllClose(weight, old * (factor if is_kernel else 1))
        self.assertEqual(kernels, 2)

    def test_entries_of_the_data_set_replace_others(self):
        module, _ = self.recipes()
        recipe = module.load_recipe("small-rko", "mnist")
        self.assertEqual(recipe.loss["margin"], 2.12)
        self.assertEqual(
            recipe.arguments,
            {"convolution": "rko", "parametrization": "bjorck"},
        )
        certified = {"1.58": [43.58, 0.44]}
        self.assertEqual(
            recipe.paper, {"clean": [97.28, 0.08], "certified": certified}
        )
        self.assertEqual((recipe.crop, recipe.flip), (0, False))
        recipe = module.load_recipe("large-rko", "cifar10")
        self.assertEqual(recipe.loss["margin"], 0.7071)
        self.assertEqual((recipe.crop, recipe.flip), (4, True))
        self.assertEqual(recipe.paper["clean"], [70.01, 0.26])
        self.assertEqual(
            module.load_recipe("fc3", "mnist").arguments,
            {"parametrization": "bjorck"},
        )
        recipe = module.load_recipe("small-soc", "mnist")
        self.assertEqual(recipe.paper, {})

    @parameterized.parameters(
        ("[a]\nextends = 'b'", "recipe must be one of a"),
        ("[a]\nnetwork = 'Net'", "network must be one of"),
        ("[a]\nnetwork = 'PublishedWeights'", "network must be one of"),
        ("[a]\nwidth = 3", "entry of the recipe a must be one of"),
        ("[a]\nschedule = {kind='flat'}", "schedule must be one of"),
        ("[a]\ninputs = 'raw'", "inputs must be one of"),
        ("[a]\npaper = {speed = 3}", "result must be one of"),
    )
    def test_unknown_entry_lists_the_known_ones(self, text, message):
        module, _ = self.recipes()
        whole = (
            "network = 'SmallConvNet'\narguments = {}\nloss = {}\n"
            "optimizer = {}\nlearning_rate = 1.0\nepochs = 1\n"
            "schedule = {kind = 'triangular'}\nbatch_size = 1\n"
        )
        kept = [
            line
            for line in whole.splitlines()
            if line.split(" =")[0] not in text
        ]
        file = self.temporary_path("recipes.toml")
        file.write_text("\n".join([text, *kept]))
        with self.assertRaisesRegex(SystemExit, message):
            module.load_recipe("a", "mnist", file)
        with self.assertRaisesRegex(SystemExit, "recipe must be one of"):
            module.load_recipe("huge", "mnist")
        with self.assertRaisesRegex(SystemExit, "data set must be one of"):
            module.load_recipe("fc3", "emnist")

    def test_star_stands_for_the_keys_of_variants(self):
        module, _ = self.recipes()
        file = self.temporary_path("recipes.toml")
        file.write_text(
            """
            ["net-*"]
            epochs = 1
            arguments = { width = 2 }
            variants = { 5 = { arguments.depth = 5 }, 10 = { epochs = 3 } }
            ["net-*-fast"]
            extends = "net-*"
            arguments = { fast = true }
            ["net-*-short".variants."0.1"]
            epochs = 0.1
            [other]
            extends = "net-5-fast"
            """
        )
        recipes = module.read_recipes(file)
        found = {name: module._extend(name, recipes) for name in recipes}
        small = {"epochs": 1, "arguments": {"width": 2, "depth": 5}}
        large = {"epochs": 3, "arguments": {"width": 2}}
        fast = {"epochs": 1, "arguments": {**small["arguments"], "fast": True}}
        expected = {
            "net-5": small,
            "net-10": large,
            "net-5-fast": fast,
            "net-10-fast": {"epochs": 3, "arguments": {"width": 2, "fast": 1}},
            "net-0.1-short": {"epochs": 0.1},
            "other": fast,
        }
        self.assertEqual(found, expected)
        for text in ("['a-*']", "['a-*']\nextends = 'b'", "[b]\n['a-*']"):
            file.write_text(text)
            with self.assertRaisesRegex(SystemExit, "needs a table `variants`"):
                module.read_recipes(file)

    def test_published_results_are_percentages_at_radii_of_runs(self):
        module, names = self.recipes()
        datasets = load_experiment("image_data").DATASETS
        for name in names:
            for dataset in ("cifar10", "cifar100", "mnist"):
                paper = module.load_recipe(name, dataset).paper
                known = [f"{e:.4g}" for e in datasets[dataset].epsilons]
                numbers = []
                for measure, value in paper.items():
                    if measure in module.MEASURES_BY_RADIUS:
                        self.assertContainsSubset(value, known, name)
                        numbers += value.values()
                    else:
                        numbers.append(value)
                for number in numbers:
                    mean, spread = (
                        number if isinstance(number, list) else (number, 0)
                    )
                    self.assertBetween(mean, 0.6, 100)
                    self.assertBetween(spread, 0, 3)

    @parameterized.parameters(
        ("lipconvnet-15", "exact", "max", "unit_norm", 62.75),
        ("lipconvnet-15-fast", "fast", "max", "unit_norm", 62.52),
        ("lipconvnet-15-projection", "exact", "projection", "unit_norm", None),
        ("lipconvnet-15-crc", "exact", "max", "curvature", None),
        (
            "lipconvnet-15-fast-projection-crc",
            "fast",
            "projection",
            "curvature",
            66.99,
        ),
    )
    def test_rows_of_lipconvnet(self, name, gradient, pooling, head, certified):
        module, _ = self.recipes()
        recipe = module.load_recipe(name, "cifar10")
        arguments = recipe.arguments
        self.assertEqual(arguments["depth"], 15)
        self.assertEqual(
            (arguments["pooling"], arguments["head"]), (pooling, head)
        )
        found = recipe.paper.get("certified", {}).get("0.1412")
        self.assertEqual(found, certified)
        recipe = self.shrink(module, recipe)
        network = module.build_network(recipe, "cifar10").layers[-1]
        convolutions = [
            layer
            for layer in network.layers
            if isinstance(layer, kl.layers.SOCConv2D)
        ]
        self.assertLen(convolutions, 6)
        for layer in convolutions:
            self.assertEqual((layer.train_terms, layer.eval_terms), (5, 14))
            self.assertEqual(layer.gradient, gradient)
            self.assertEqual(layer.padding_mode, "zeros")

    @parameterized.product(
        size=("small", "large"), method=("bcop", "rko", "ossn", "svcm")
    )
    def test_baselines_of_bcop_are_made_as_in_their_paper(self, size, method):
        module, _ = self.recipes()
        recipe = module.load_recipe(f"{size}-{method}", "mnist")
        clipping = {"every_n_steps": 100, "rounds": 50}
        self.assertEqual(
            recipe.svcm_clipping, clipping if method == "svcm" else {}
        )
        kl.callbacks.SVCMClipping(**recipe.svcm_clipping)
        recipe = self.shrink(module, recipe)
        network = module.build_network(recipe, "mnist")
        for layer in network.layers:
            if hasattr(layer, "parametrization"):
                found = layer.parametrization
                self.assertIsInstance(found, kl.parametrizations.Bjorck)
            if method == "ossn" and hasattr(layer, "kernel_map"):
                self.assertEqual(layer.kernel_map.training_iterations, 10)

    @on_pytorch_alone
    def test_networks_of_all_recipes_are_made(self):
        module, names = self.recipes()
        made = []
        for name in names:
            recipe = self.shrink(module, module.load_recipe(name, "cifar10"))
            if recipe.network == "LipConvNet":
                continue
            network = recipe.network, recipe.arguments
            if network not in made:
                made.append(network)
                model = module.build_network(recipe, "cifar10")
                self.assertEqual(model.output_shape, (None, 10), name)
        self.assertGreater(len(made), 20)

    def shrink(self, module, recipe):
        """Returns the recipe of a network of the same layers, but smaller."""
        blocks = {"depth": 1, "channels": 4, "linear_depth": 1}
        measured = {"depth": 1, "width": 4, "dense_depth": 1, "units": 4}
        sizes = {
            "ConvexPotentialNet": {**blocks, "hidden_units": 4},
            "FullyConnected3": {"units": 4},
            "HybridFlowNet": {**blocks, "hidden_units": 4},
            "LiResNet": measured,
            "LipConvNet": {"depth": 5, "width": 2, "hidden_units": 4},
            "SLLNet": {**blocks, "hidden_units": 4},
            "WideResNet": {"width": 2, "widen_factor": 1},
        }
        small = sizes.get(recipe.network, {"width": 2, "units": 4})
        arguments = {**recipe.arguments, **small}
        return module.dataclasses.replace(recipe, arguments=arguments)

    def test_changes_replace_entries(self):
        module, _ = self.recipes()
        changes = ["loss.temperature=2", "crop=0", "optimizer.class=Adam"]
        changes += ["schedule={kind='cosine', warmup=0.1}", "epochs = 3"]
        before = module.load_recipe("liresnet-small", "cifar10")
        recipe = module.load_recipe(
            "liresnet-small", "cifar10", changes=changes
        )
        self.assertEqual(recipe.loss, {**before.loss, "temperature": 2})
        self.assertEqual((recipe.crop, recipe.flip), (0, before.flip))
        self.assertEqual(recipe.optimizer, {"class": "Adam"})
        self.assertEqual(recipe.schedule, {"kind": "cosine", "warmup": 0.1})
        self.assertEqual(recipe.epochs, 3)
        for change, message in (
            ("crop", "--set takes KEY=VALUE"),
            ("=3", "--set takes KEY=VALUE"),
            ("size=3", "entry of the recipe liresnet-small must be one of"),
        ):
            with self.assertRaisesRegex(SystemExit, message):
                module.load_recipe(
                    "liresnet-small", "cifar10", changes=[change]
                )

    def test_epsilon_grows_along_a_line(self):
        module, _ = self.recipes()
        recipe = module.load_recipe("liresnet-small", "cifar10")
        epsilon = module.build_epsilon_scheduler(recipe).schedule
        start, end = recipe.epsilon["start"], recipe.epsilon["end"]
        half = recipe.epochs / 2
        found = [epsilon(share * half) for share in (0, 0.5, 1.0, 1.5)]
        expected = [start, (start + end) / 2, end, end]
        self.assertAllClose(found, expected, 1e-6)
        self.assertAllClose((start, end), (3.6 / 255, 108 / 255), 1e-2)
        recipe = module.load_recipe("small-bcop", "cifar10")
        self.assertIsNone(module.build_epsilon_scheduler(recipe))

    def test_one_cycle_rises_and_falls_along_lines(self):
        module, _ = self.recipes()
        schedule = module.OneCycle(2.0, 10, 0.2)
        rates = [float(to_numpy(schedule(step))) for step in range(10)]
        expected = [1.0, 2.0, *(2.0 * (10 - step) / 8 for step in range(3, 11))]
        self.assertAllClose(rates, expected, 1e-6)
        copy = module.OneCycle.from_config(schedule.get_config())
        self.assertAllClose(copy(3), schedule(3))

    def test_averages_of_schedule_free_are_the_result(self):
        if keras.backend.backend() != "jax":
            self.skipTest("Keras computes other averages on this backend.")
        module, _ = self.recipes()
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, use_bias=False)]
        )
        recipe = module.load_recipe("liresnet-small-schedule-free", "cifar10")
        with self.needs_newer_keras():
            keras.optimizers.ScheduleFreeAdamW  # noqa: B018
        optimizer = module.build_optimizer(recipe, 10)
        optimizer.warmup_steps = 0
        model.compile(optimizer, "mse")
        latest = []
        for _ in range(4):
            model.train_on_batch(self.normal(5, 3), self.normal(5, 2))
            latest.append(np.array(to_numpy(optimizer._momentums[0])))
        module.settle(model)
        self.assertAllClose(model.weights[0], np.mean(latest, axis=0), 1e-5)

    def test_normalization_counts_in_the_constant(self):
        module, _ = self.recipes()
        digits = module.load_recipe("small-bcop", "digits")
        arguments = {"width": 2, "units": 8}
        bounds = {}
        for inputs in ("unit", "centered", "normalized", "scaled"):
            recipe = module.dataclasses.replace(
                digits, arguments=arguments, inputs=inputs
            )
            network = module.build_network(recipe, "digits")
            bounds[inputs] = kl.bounds.lipschitz_bound(network)
        self.assertAllClose(bounds["unit"], 1.0, 1e-4)
        self.assertAllClose(bounds["centered"], 1.0, 1e-4)
        stddev = load_experiment("image_data").DATASETS["digits"].stddev[0]
        self.assertAllClose(bounds["normalized"], 1 / stddev, 1e-4)
        # Of a single channel.
        self.assertAllClose(bounds["scaled"], 1 / stddev, 1e-4)

    @parameterized.named_parameters(
        ("cifar10", "cifar10", 0.1411), ("cifar100", "cifar100", 0.2)
    )
    def test_channels_and_radius_are_scaled_alike(self, dataset, radius):
        module, _ = self.recipes()
        recipe = module.load_recipe("lipconvnet-5-crc", dataset)
        network = module.build_network(self.shrink(module, recipe), dataset)
        normalization = network.layers[1]
        known = load_experiment("image_data").DATASETS[dataset]
        variance = np.mean(np.square(known.stddev))
        self.assertAllClose(np.ravel(normalization.variance), [variance] * 3)
        self.assertAllClose(np.ravel(normalization.mean), known.mean)
        self.assertAllClose(recipe.loss["radius"], radius / variance**0.5, 1e-4)
